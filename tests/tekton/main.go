// Reads the pipeline of deploy/tekton as Tekton reads it, with Tekton's own types.
//
//	tekton validate FILE
//	    Decodes each document strictly, sets its defaults, validates it, and checks what its references lead to.
//	tekton trigger FILE LISTENER BODY HEADERS SECRET
//	    Sends a webhook (files with its body and, as JSON, its headers) through the interceptors of an EventListener, with
//	    SECRET as the value of every Secret, and prints the PipelineRuns that come of it, as a JSON list.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(arguments []string) error {
	if len(arguments) < 2 {
		return errors.New("usage: tekton validate FILE | tekton trigger FILE LISTENER BODY HEADERS SECRET")
	}
	all, err := read(arguments[1])
	if err != nil {
		return err
	}
	switch {
	case arguments[0] == "validate" && len(arguments) == 2:
		if err := all.validate(); err != nil {
			return err
		}
		fmt.Printf("%d tasks, %d pipelines, %d event listeners\n", len(all.tasks), len(all.pipelines), len(all.listeners))
		return nil
	case arguments[0] == "trigger" && len(arguments) == 6:
		body, err := os.ReadFile(arguments[3])
		if err != nil {
			return err
		}
		text, err := os.ReadFile(arguments[4])
		if err != nil {
			return err
		}
		header := map[string][]string{}
		if err := json.Unmarshal(text, &header); err != nil {
			return fmt.Errorf("%s: %w", arguments[4], err)
		}
		runs, err := all.trigger(arguments[2], body, header, arguments[5])
		if err != nil {
			return err
		}
		return json.NewEncoder(os.Stdout).Encode(runs)
	}
	return fmt.Errorf("unknown arguments %q", arguments)
}
