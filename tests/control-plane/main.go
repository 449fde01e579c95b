// The control plane that the end-to-end tests run on: the components that every cluster has, in miniature.
//
//	parent ──stdin──▶ control-plane ──▶ etcd (in this process)
//	       ◀─stdout──       │  ├──────▶ kube-apiserver            (this binary again, as a child)
//	                        │  ├──────▶ kube-controller-manager   (the same)
//	                        │  └──────▶ what a node and a cloud do (in this process, see node.go and cloud.go)
//
// Everything is written into one directory and listens on loopback. A line of JSON on standard output says when it is
// ready; after that each line on standard input is a command (see commands.go) that is answered by one line. It ends
// on SIGTERM, and when standard input ends: nobody who has started it can die without it. Its children watch theirs
// in the same way.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"k8s.io/klog/v2"
)

// options are the command line.
type options struct {
	directory     string
	removed       bool
	kubeconfig    string
	nodeName      string
	podReadyDelay time.Duration
	jobDuration   time.Duration
	startLimit    time.Duration
}

// ready is the line that says so.
type ready struct {
	Ready      bool   `json:"ready"`
	Kubeconfig string `json:"kubeconfig"`
	Server     string `json:"server"`
	Version    string `json:"version"`
	Process    int    `json:"process"`
}

func main() {
	if len(os.Args) > 2 && os.Args[1] == componentArgument {
		os.Exit(runComponent(os.Args[2], os.Args[3:]))
	}
	options, err := parseOptions()
	if err == nil {
		err = run(options)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "control-plane:", err)
		os.Exit(1)
	}
}

func parseOptions() (options, error) {
	var options options
	flag.StringVar(&options.directory, "directory", "", "where everything is written; made if it is missing (required)")
	flag.BoolVar(&options.removed, "remove-directory", false, "remove the directory at the end; it must not exist before")
	flag.StringVar(&options.kubeconfig, "kubeconfig", "", "where the administrator's kubeconfig is written (default DIRECTORY/kubeconfig)")
	flag.StringVar(&options.nodeName, "node-name", "node-0", "the name of the one node")
	flag.DurationVar(&options.podReadyDelay, "pod-ready-delay", 0, "from a Pod's creation until it is Running and Ready")
	flag.DurationVar(&options.jobDuration, "job-duration", 0, "how long a container that ends by itself runs")
	flag.DurationVar(&options.startLimit, "start-limit", 3*time.Minute, "how long the start may take")
	flag.Parse()
	if options.directory == "" || flag.NArg() > 0 {
		return options, errors.New("usage: control-plane --directory DIRECTORY (see --help)")
	}
	var err error
	if options.directory, err = filepath.Abs(options.directory); err != nil {
		return options, err
	}
	if options.kubeconfig == "" {
		options.kubeconfig = filepath.Join(options.directory, "kubeconfig")
	}
	if options.removed {
		// Only what this process has made may be removed.
		if err := os.MkdirAll(filepath.Dir(options.directory), 0o700); err != nil {
			return options, err
		}
		return options, os.Mkdir(options.directory, 0o700)
	}
	return options, os.MkdirAll(options.directory, 0o700)
}

// run returns nil when it was told to end. Its files stay when it fails, since they say why.
func run(options options) (result error) {
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer cancel()
	if options.removed {
		defer func() {
			if result == nil {
				_ = os.RemoveAll(options.directory)
			}
		}()
	}
	log, err := os.Create(filepath.Join(options.directory, "control-plane.log"))
	if err != nil {
		return err
	}
	defer log.Close()
	klog.LogToStderr(false)
	klog.SetOutput(log)
	// Read from the first moment on: a parent that dies during the start takes this process along.
	lines := readLines(os.Stdin, cancel)

	files, err := writeCredentials(options)
	if err != nil {
		return fmt.Errorf("writing certificates and kubeconfigs into %s: %w", options.directory, err)
	}
	storage, err := startStorage(options.directory)
	if err != nil {
		return err
	}
	defer storage.close()

	failed := make(chan error, 2)
	apiServer := newComponent("kube-apiserver", options.directory, apiServerFlags(files, storage), failed)
	defer apiServer.stop()
	controllers := newComponent("kube-controller-manager", options.directory, controllerFlags(files), failed)
	defer controllers.stop()
	cluster, err := newCluster(files)
	if err != nil {
		return err
	}

	started := make(chan error, 1)
	go func() {
		started <- func() error {
			limited, end := context.WithTimeout(ctx, options.startLimit)
			defer end()
			if err := apiServer.start(); err != nil {
				return err
			}
			if err := cluster.untilServing(limited); err != nil {
				return err
			}
			if err := controllers.start(); err != nil {
				return err
			}
			cluster.startNode(ctx, options)
			cluster.startCloud(ctx)
			return cluster.untilAlive(limited, options.nodeName)
		}()
	}()
	select {
	case err := <-started:
		if err != nil && ctx.Err() == nil {
			return fmt.Errorf("starting the control plane: %w (logs are in %s)", err, options.directory)
		}
	case err := <-failed:
		return err
	case <-ctx.Done():
		return nil
	}
	version, err := cluster.client.Discovery().ServerVersion()
	if err != nil {
		return err
	}
	say(ready{true, options.kubeconfig, files.server, version.GitVersion, os.Getpid()})

	commands := commands{apiServer: apiServer, controllers: controllers, storage: storage, cluster: cluster}
	for {
		select {
		case line := <-lines:
			say(commands.do(ctx, line))
		case err := <-failed:
			return err
		case <-ctx.Done():
			return nil
		}
	}
}

// say writes one line of JSON to standard output.
func say(value any) {
	line, err := json.Marshal(value)
	if err == nil {
		fmt.Println(string(line))
	}
}
