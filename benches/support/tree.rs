//! A synthetic Kustomize tree that looks like a team's repository: a base of many small applications of ten objects,
//! and an overlay that uses most of Kustomize's transformers.

use std::{fmt::Write as _, fs, path::Path};

use crate::application::application;

const OBJECTS_PER_APPLICATION: usize = 10;
const GENERATED: usize = 10;
const PATCHES: usize = 20;

/// Writes `base` with so many objects and `overlays/o0`.
pub fn write(directory: &Path, objects: usize) {
    let applications = objects / OBJECTS_PER_APPLICATION;
    let (base, overlay) = (directory.join("base"), directory.join("overlays/o0"));
    fs::create_dir_all(&base).unwrap();
    fs::create_dir_all(&overlay).unwrap();
    let mut kustomization = String::from("resources:\n");
    for number in 0..applications {
        fs::write(base.join(format!("app{number}.yaml")), application(number)).unwrap();
        writeln!(kustomization, "- app{number}.yaml").unwrap();
    }
    kustomization.push_str("configMapGenerator:\n");
    for number in 0..GENERATED {
        write!(kustomization, "- name: gen{number}\n  literals:\n  - key{number}=value\n  - shared=base\n")
            .unwrap();
    }
    fs::write(base.join("kustomization.yaml"), kustomization).unwrap();
    for number in 0..PATCHES.min(applications) {
        fs::write(overlay.join(format!("patch{number}.yaml")), patch(number)).unwrap();
    }
    fs::write(overlay.join("kustomization.yaml"), overlay_kustomization(applications)).unwrap();
}

fn overlay_kustomization(applications: usize) -> String {
    let mut text = String::from(
        "namespace: ns0
namePrefix: o0-
resources:
- ../../base
labels:
- pairs:
    env: o0
    app.kubernetes.io/managed-by: gitops
  includeSelectors: false
  includeTemplates: true
commonAnnotations:
  owner: team0
images:
",
    );
    for number in 0..20 {
        write!(
            text,
            "- name: registry.example.com/app{number}\n  newName: mirror.example.com/app{number}\n  newTag: \"2.{number}\"\n"
        )
        .unwrap();
    }
    write!(text, "- name: registry.example.com/sidecar\n  digest: sha256:{}\nreplicas:\n", "a".repeat(64))
        .unwrap();
    for number in (0..applications).step_by(5) {
        write!(text, "- name: app{number}\n  count: {}\n", 2 + number % 3).unwrap();
    }
    text.push_str("configMapGenerator:\n");
    for number in 0..GENERATED {
        write!(text, "- name: gen{number}\n  behavior: merge\n  literals:\n  - shared=o0\n").unwrap();
    }
    text.push_str(
        "patches:
- target:
    kind: Deployment
    labelSelector: tier=t1
  patch: |-
    - op: add
      path: /spec/template/spec/tolerations
      value:
      - key: dedicated
        operator: Exists
",
    );
    for number in 0..PATCHES.min(applications) {
        writeln!(text, "- path: patch{number}.yaml").unwrap();
    }
    text.push_str(
        "replacements:
- source:
    kind: Service
    name: app0
    fieldPath: metadata.name
  targets:
  - select:
      kind: Ingress
      name: app0
    fieldPaths:
    - spec.rules.0.host
    options:
      delimiter: .
      index: 0
",
    );
    text
}

fn patch(number: usize) -> String {
    format!(
        "apiVersion: apps/v1
kind: Deployment
metadata:
  name: app{number}
spec:
  template:
    spec:
      containers:
      - name: main
        env:
        - name: LOG_LEVEL
          value: debug
        - name: EXTRA
          value: \"{number}\"
        resources:
          limits:
            memory: 1Gi
"
    )
}
