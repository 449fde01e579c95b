package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"

	pipelines "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	"github.com/tektoncd/triggers/pkg/apis/triggers/contexts"
	triggers "github.com/tektoncd/triggers/pkg/apis/triggers/v1beta1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	yamlstream "k8s.io/apimachinery/pkg/util/yaml"
	"knative.dev/pkg/apis"
	"sigs.k8s.io/yaml"
)

// objects is what a stream of documents holds of Tekton's kinds, by name.
type objects struct {
	tasks     map[string]*pipelines.Task
	pipelines map[string]*pipelines.Pipeline
	templates map[string]*triggers.TriggerTemplate
	bindings  map[string]*triggers.TriggerBinding
	listeners map[string]*triggers.EventListener
	accounts  map[string]bool
}

// object is what Tekton's types have in common here.
type object interface {
	metav1.Object
	SetDefaults(context.Context)
	Validate(context.Context) *apis.FieldError
}

func read(path string) (*objects, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	all := &objects{
		tasks:     map[string]*pipelines.Task{},
		pipelines: map[string]*pipelines.Pipeline{},
		templates: map[string]*triggers.TriggerTemplate{},
		bindings:  map[string]*triggers.TriggerBinding{},
		listeners: map[string]*triggers.EventListener{},
		accounts:  map[string]bool{},
	}
	reader := yamlstream.NewYAMLReader(yamlBuffer(file))
	for {
		document, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		if err := all.add(document); err != nil {
			return nil, err
		}
	}
}

func (all *objects) add(document []byte) error {
	var head struct {
		metav1.TypeMeta `json:",inline"`
		Metadata        metav1.ObjectMeta `json:"metadata"`
	}
	if err := yaml.Unmarshal(document, &head); err != nil {
		return err
	}
	name := head.Metadata.Name
	switch head.APIVersion + " " + head.Kind {
	case "tekton.dev/v1 Task":
		return add(all.tasks, document, &pipelines.Task{})
	case "tekton.dev/v1 Pipeline":
		return add(all.pipelines, document, &pipelines.Pipeline{})
	case "triggers.tekton.dev/v1beta1 TriggerTemplate":
		return add(all.templates, document, &triggers.TriggerTemplate{})
	case "triggers.tekton.dev/v1beta1 TriggerBinding":
		return add(all.bindings, document, &triggers.TriggerBinding{})
	case "triggers.tekton.dev/v1beta1 EventListener":
		return add(all.listeners, document, &triggers.EventListener{})
	case "v1 ServiceAccount":
		all.accounts[name] = true
	}
	if matched, _ := regexp.MatchString(`(^|\.)tekton\.dev/`, head.APIVersion); matched {
		return fmt.Errorf("%s %s %s: a kind that nobody validates", head.APIVersion, head.Kind, name)
	}
	return nil
}

// add decodes a document strictly, and validates it as Tekton's webhook does when it is applied.
func add[T object](into map[string]T, document []byte, value T) error {
	if err := yaml.UnmarshalStrict(document, value, strict); err != nil {
		return fmt.Errorf("%s: %w", first(document), err)
	}
	ctx := contexts.WithUpgradeViaDefaulting(apis.WithinCreate(context.Background()))
	value.SetDefaults(ctx)
	if err := value.Validate(ctx); err != nil {
		return fmt.Errorf("%T %s: %w", value, value.GetName(), err)
	}
	if _, known := into[value.GetName()]; known {
		return fmt.Errorf("%T %s is declared twice", value, value.GetName())
	}
	into[value.GetName()] = value
	return nil
}

func strict(decoder *json.Decoder) *json.Decoder {
	decoder.DisallowUnknownFields()
	return decoder
}

func first(document []byte) string {
	return string(document[:min(len(document), 200)])
}

// decodeRun reads a PipelineRun strictly and validates it.
func decodeRun(text []byte) (*pipelines.PipelineRun, error) {
	run := &pipelines.PipelineRun{}
	decoder := strict(json.NewDecoder(bytes.NewReader(text)))
	if err := decoder.Decode(run); err != nil {
		return nil, fmt.Errorf("PipelineRun: %w", err)
	}
	ctx := apis.WithinCreate(context.Background())
	run.SetDefaults(ctx)
	// One with generateName has its name by the time it is validated.
	if run.Name == "" {
		run.Name = run.GenerateName + "abcde"
	}
	if err := run.Validate(ctx); err != nil {
		return nil, fmt.Errorf("PipelineRun %s: %w", run.GenerateName, err)
	}
	return run, nil
}
