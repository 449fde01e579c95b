package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"

	pipelines "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
)

func yamlBuffer(from io.Reader) *bufio.Reader {
	return bufio.NewReader(from)
}

// Results of other tasks, as `$(tasks.build.results.IMAGE_DIGEST)`.
var resultReference = regexp.MustCompile(`\$\(tasks\.([a-z0-9-]+)\.results\.([A-Za-z0-9_.-]+)\)`)

// validate checks what no single object's validation can see: that what it names is there.
func (all *objects) validate() error {
	var problems []error
	for _, pipeline := range all.pipelines {
		problems = append(problems, all.validatePipeline(pipeline))
	}
	for _, template := range all.templates {
		for _, resource := range template.Spec.ResourceTemplates {
			run, err := decodeRun(resource.Raw)
			if err != nil {
				problems = append(problems, fmt.Errorf("TriggerTemplate %s: %w", template.Name, err))
				continue
			}
			problems = append(problems, all.validateRun(template.Name, run))
		}
	}
	for _, listener := range all.listeners {
		if !all.accounts[listener.Spec.ServiceAccountName] {
			problems = append(problems, fmt.Errorf("EventListener %s: no ServiceAccount %s", listener.Name, listener.Spec.ServiceAccountName))
		}
		for _, trigger := range listener.Spec.Triggers {
			given := map[string]bool{}
			for _, binding := range trigger.Bindings {
				known, ok := all.bindings[binding.Ref]
				if !ok {
					problems = append(problems, fmt.Errorf("EventListener %s: no TriggerBinding %s", listener.Name, binding.Ref))
					continue
				}
				for _, param := range known.Spec.Params {
					given[param.Name] = true
				}
			}
			template, ok := all.templates[*trigger.Template.Ref]
			if !ok {
				problems = append(problems, fmt.Errorf("EventListener %s: no TriggerTemplate %s", listener.Name, *trigger.Template.Ref))
				continue
			}
			for _, param := range template.Spec.Params {
				if param.Default == nil && !given[param.Name] {
					problems = append(problems, fmt.Errorf("EventListener %s: nothing gives %s its param %s", listener.Name, template.Name, param.Name))
				}
			}
		}
	}
	return errors.Join(problems...)
}

func (all *objects) validatePipeline(pipeline *pipelines.Pipeline) error {
	var problems []error
	problem := func(task, format string, values ...any) {
		problems = append(problems, fmt.Errorf("Pipeline %s, task %s: %s", pipeline.Name, task, fmt.Sprintf(format, values...)))
	}
	every := append(append([]pipelines.PipelineTask{}, pipeline.Spec.Tasks...), pipeline.Spec.Finally...)
	byName := map[string]*pipelines.Task{}
	for _, step := range every {
		if step.TaskRef == nil {
			problem(step.Name, "has no taskRef")
			continue
		}
		task, ok := all.tasks[step.TaskRef.Name]
		if !ok {
			problem(step.Name, "there is no Task %s", step.TaskRef.Name)
			continue
		}
		byName[step.Name] = task
		given := map[string]pipelines.ParamType{}
		for _, param := range step.Params {
			given[param.Name] = param.Value.Type
		}
		for _, param := range task.Spec.Params {
			kind, ok := given[param.Name]
			if !ok && param.Default == nil {
				problem(step.Name, "param %s is not given", param.Name)
			}
			if ok && kind != param.Type {
				problem(step.Name, "param %s is a %s, and a %s is given", param.Name, param.Type, kind)
			}
			delete(given, param.Name)
		}
		for name := range given {
			problem(step.Name, "Task %s has no param %s", task.Name, name)
		}
		bound := map[string]bool{}
		for _, workspace := range step.Workspaces {
			bound[workspace.Name] = true
		}
		for _, workspace := range task.Spec.Workspaces {
			if !workspace.Optional && !bound[workspace.Name] {
				problem(step.Name, "workspace %s is not bound", workspace.Name)
			}
			delete(bound, workspace.Name)
		}
		for name := range bound {
			problem(step.Name, "Task %s has no workspace %s", task.Name, name)
		}
	}
	text, err := json.Marshal(pipeline.Spec)
	if err != nil {
		return err
	}
	for _, found := range resultReference.FindAllStringSubmatch(string(text), -1) {
		task, ok := byName[found[1]]
		if !ok {
			problem(found[1], "a result %s of it is used, and there is no such task", found[2])
			continue
		}
		declared := false
		for _, result := range task.Spec.Results {
			declared = declared || result.Name == found[2]
		}
		if !declared {
			problem(found[1], "Task %s has no result %s", task.Name, found[2])
		}
	}
	return errors.Join(problems...)
}

// validateRun checks a PipelineRun against the Pipeline that it names.
func (all *objects) validateRun(template string, run *pipelines.PipelineRun) error {
	var problems []error
	problem := func(format string, values ...any) {
		problems = append(problems, fmt.Errorf("TriggerTemplate %s: %s", template, fmt.Sprintf(format, values...)))
	}
	pipeline, ok := all.pipelines[run.Spec.PipelineRef.Name]
	if !ok {
		problem("there is no Pipeline %s", run.Spec.PipelineRef.Name)
		return errors.Join(problems...)
	}
	accounts := []string{run.Spec.TaskRunTemplate.ServiceAccountName}
	tasks := map[string]bool{}
	for _, task := range append(append([]pipelines.PipelineTask{}, pipeline.Spec.Tasks...), pipeline.Spec.Finally...) {
		tasks[task.Name] = true
	}
	for _, spec := range run.Spec.TaskRunSpecs {
		if !tasks[spec.PipelineTaskName] {
			problem("Pipeline %s has no task %s", pipeline.Name, spec.PipelineTaskName)
		}
		if spec.ServiceAccountName != "" {
			accounts = append(accounts, spec.ServiceAccountName)
		}
	}
	for _, account := range accounts {
		if !all.accounts[account] {
			problem("there is no ServiceAccount %s", account)
		}
	}
	given := map[string]bool{}
	for _, param := range run.Spec.Params {
		given[param.Name] = true
	}
	for _, param := range pipeline.Spec.Params {
		if param.Default == nil && !given[param.Name] {
			problem("param %s of Pipeline %s is not given", param.Name, pipeline.Name)
		}
		delete(given, param.Name)
	}
	for name := range given {
		problem("Pipeline %s has no param %s", pipeline.Name, name)
	}
	bound := map[string]bool{}
	for _, workspace := range run.Spec.Workspaces {
		bound[workspace.Name] = true
	}
	for _, workspace := range pipeline.Spec.Workspaces {
		if !workspace.Optional && !bound[workspace.Name] {
			problem("workspace %s of Pipeline %s is not bound", workspace.Name, pipeline.Name)
		}
		delete(bound, workspace.Name)
	}
	for name := range bound {
		problem("Pipeline %s has no workspace %s", pipeline.Name, name)
	}
	return errors.Join(problems...)
}
