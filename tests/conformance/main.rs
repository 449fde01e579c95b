//! Compares Skiff with the recorded output of the tools that it stands in for.

mod kustomize;
