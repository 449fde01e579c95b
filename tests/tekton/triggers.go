package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"

	pipelines "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	triggers "github.com/tektoncd/triggers/pkg/apis/triggers/v1beta1"
	"github.com/tektoncd/triggers/pkg/interceptors"
	"github.com/tektoncd/triggers/pkg/interceptors/cel"
	"github.com/tektoncd/triggers/pkg/interceptors/github"
	"github.com/tektoncd/triggers/pkg/interceptors/gitlab"
	"github.com/tektoncd/triggers/pkg/template"
)

// oneSecret is the value of every Secret.
type oneSecret string

func (secret oneSecret) Get(context.Context, string, *triggers.SecretRef) ([]byte, error) {
	return []byte(secret), nil
}

// trigger does with a webhook what an EventListener does, and returns the runs that it would create.
func (all *objects) trigger(name string, body []byte, header http.Header, secret string) ([]*pipelines.PipelineRun, error) {
	listener, ok := all.listeners[name]
	if !ok {
		return nil, fmt.Errorf("there is no EventListener %s", name)
	}
	runs := []*pipelines.PipelineRun{}
	for _, trigger := range listener.Spec.Triggers {
		extensions, reason, err := intercept(trigger.Interceptors, body, header, oneSecret(secret))
		if err != nil {
			return nil, fmt.Errorf("trigger %s: %w", trigger.Name, err)
		}
		if reason != "" {
			continue
		}
		resolved := template.ResolvedTrigger{TriggerTemplate: all.templates[*trigger.Template.Ref]}
		for _, binding := range trigger.Bindings {
			resolved.BindingParams = append(resolved.BindingParams, all.bindings[binding.Ref].Spec.Params...)
		}
		params, err := template.ResolveParams(resolved, body, header, extensions, template.NewTriggerContext("event"))
		if err != nil {
			return nil, fmt.Errorf("trigger %s: %w", trigger.Name, err)
		}
		for _, text := range template.ResolveResources(resolved.TriggerTemplate, params) {
			run, err := decodeRun(text)
			if err != nil {
				return nil, fmt.Errorf("trigger %s: %w", trigger.Name, err)
			}
			runs = append(runs, run)
		}
	}
	return runs, nil
}

// intercept sends a webhook through interceptors; reason says why it goes no further.
func intercept(chain []*triggers.TriggerInterceptor, body []byte, header http.Header, secret oneSecret) (map[string]any, string, error) {
	extensions := map[string]any{}
	for _, one := range chain {
		var known triggers.InterceptorInterface
		switch one.Ref.Name {
		case "github":
			known = github.NewInterceptor(secret)
		case "gitlab":
			known = gitlab.NewInterceptor(secret)
		case "cel":
			known = cel.NewInterceptor(secret)
		default:
			return nil, "", fmt.Errorf("no interceptor %q is known", one.Ref.Name)
		}
		// Over the wire a parameter is plain JSON.
		text, err := json.Marshal(interceptors.GetInterceptorParams(one))
		if err != nil {
			return nil, "", err
		}
		params := map[string]any{}
		if err := json.Unmarshal(text, &params); err != nil {
			return nil, "", err
		}
		answer := known.Process(context.Background(), &triggers.InterceptorRequest{
			Body:              string(body),
			Header:            header,
			Extensions:        extensions,
			InterceptorParams: params,
			Context:           &triggers.TriggerContext{EventURL: "http://listener", EventID: "event", TriggerID: "namespaces/ci/triggers/t"},
		})
		if !answer.Continue {
			return nil, answer.Status.Message + " (refused by " + one.Ref.Name + ")", nil
		}
		maps.Copy(extensions, answer.Extensions)
	}
	return extensions, "", nil
}
