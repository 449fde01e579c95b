// What a test may ask for while the control plane runs.

package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strings"
	"time"
)

// restartLimit bounds how long a command waits until the API server serves again.
const restartLimit = 2 * time.Minute

type commands struct {
	apiServer   *component
	controllers *component
	storage     *storage
	cluster     *cluster
}

// answer is the line that ends a command.
type answer struct {
	Done     string `json:"done,omitempty"`
	Error    string `json:"error,omitempty"`
	Revision int64  `json:"revision,omitempty"`
}

// do carries out a command. Components are killed rather than asked to end, so that connections are cut as by a crash.
func (c commands) do(ctx context.Context, command string) answer {
	limited, end := context.WithTimeout(ctx, restartLimit)
	defer end()
	result := answer{Done: command}
	var err error
	switch command {
	case "stop-apiserver":
		c.apiServer.stop()
	case "start-apiserver":
		if err = c.apiServer.start(); err == nil {
			err = c.cluster.untilServing(limited)
		}
	case "restart-apiserver":
		c.apiServer.stop()
		if err = c.apiServer.start(); err == nil {
			err = c.cluster.untilServing(limited)
		}
	case "stop-controllers":
		c.controllers.stop()
	case "start-controllers":
		err = c.controllers.start()
	case "compact":
		result.Revision, err = c.storage.compact(limited)
	default:
		err = fmt.Errorf("unknown command %q: use stop-apiserver, start-apiserver, restart-apiserver, "+
			"stop-controllers, start-controllers or compact", command)
	}
	if err != nil {
		return answer{Error: err.Error()}
	}
	return result
}

// readLines hands out the lines of a stream and calls ended at its end.
func readLines(stream io.Reader, ended func()) <-chan string {
	lines := make(chan string, 16)
	go func() {
		defer ended()
		scanner := bufio.NewScanner(stream)
		for scanner.Scan() {
			if line := strings.TrimSpace(scanner.Text()); line != "" {
				lines <- line
			}
		}
	}()
	return lines
}
