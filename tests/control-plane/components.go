// The components that are processes of their own, since their flags and feature gates are global to a process.

package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"

	"github.com/spf13/cobra"
	"k8s.io/component-base/cli"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
)

// componentArgument makes this binary be a component.
const componentArgument = "component"

// runComponent is the life of such a process: it ends when its standard input does, whatever became of its parent.
func runComponent(name string, arguments []string) int {
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(1)
	}()
	var command *cobra.Command
	switch name {
	case "kube-apiserver":
		command = apiserver.NewAPIServerCommand()
	case "kube-controller-manager":
		command = controllermanager.NewControllerManagerCommand()
	default:
		fmt.Fprintf(os.Stderr, "unknown component %q\n", name)
		return 2
	}
	command.SetArgs(arguments)
	return cli.Run(command)
}

func apiServerFlags(files credentials, storage *storage) []string {
	return []string{
		"--etcd-servers=" + storage.url,
		"--bind-address=127.0.0.1",
		fmt.Sprintf("--secure-port=%d", files.port),
		"--advertise-address=127.0.0.1",
		// Endpoints may not be on loopback.
		"--endpoint-reconciler-type=none",
		"--service-cluster-ip-range=" + serviceAddresses,
		"--authorization-mode=RBAC",
		"--allow-privileged=true",
		"--client-ca-file=" + files.path("cluster-ca.crt"),
		"--tls-cert-file=" + files.path("kube-apiserver.crt"),
		"--tls-private-key-file=" + files.path("kube-apiserver.key"),
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=" + files.path("service-account.key"),
		"--service-account-signing-key-file=" + files.path("service-account.key"),
		"--requestheader-client-ca-file=" + files.path("front-proxy-ca.crt"),
		"--requestheader-allowed-names=front-proxy-client",
		"--requestheader-username-headers=X-Remote-User",
		"--requestheader-group-headers=X-Remote-Group",
		"--requestheader-extra-headers-prefix=X-Remote-Extra-",
		"--proxy-client-cert-file=" + files.path("front-proxy-client.crt"),
		"--proxy-client-key-file=" + files.path("front-proxy-client.key"),
		"--profiling=false",
	}
}

// controllers are those that GitOps meets. Autoscaling and everything about real nodes is left out.
var controllers = []string{
	"clusterrole-aggregation-controller",
	"cronjob-controller",
	"daemonset-controller",
	"deployment-controller",
	"disruption-controller",
	"endpoints-controller",
	"endpointslice-controller",
	"garbage-collector-controller",
	"job-controller",
	"namespace-controller",
	"persistentvolume-binder-controller",
	"persistentvolume-protection-controller",
	"persistentvolumeclaim-protection-controller",
	"replicaset-controller",
	"resourcequota-controller",
	"root-ca-certificate-publisher-controller",
	"serviceaccount-controller",
	"serviceaccount-token-controller",
	"statefulset-controller",
	"ttl-after-finished-controller",
	"validatingadmissionpolicy-status-controller",
}

func controllerFlags(files credentials) []string {
	return []string{
		"--kubeconfig=" + files.controllerKubeconfig,
		"--controllers=" + strings.Join(controllers, ","),
		"--use-service-account-credentials=true",
		"--service-account-private-key-file=" + files.path("service-account.key"),
		"--root-ca-file=" + files.path("cluster-ca.crt"),
		"--leader-elect=false",
		// No port of its own.
		"--secure-port=0",
		"--profiling=false",
		// Many tests share it.
		"--kube-api-qps=300",
		"--kube-api-burst=600",
	}
}

// component is a child process that can be started again.
type component struct {
	name      string
	log       string
	arguments []string
	failed    chan<- error

	lock    sync.Mutex
	running *running
}

type running struct {
	command  *exec.Cmd
	lifeline io.Closer
	// ended is closed when the process is gone.
	ended chan struct{}
	// wanted is set before the process is killed.
	wanted bool
}

func newComponent(name, directory string, arguments []string, failed chan<- error) *component {
	return &component{name: name, log: filepath.Join(directory, name+".log"), arguments: arguments, failed: failed}
}

// start starts the process unless it runs. What it logs is appended to its file.
func (c *component) start() error {
	c.lock.Lock()
	defer c.lock.Unlock()
	if c.running != nil {
		return nil
	}
	log, err := os.OpenFile(c.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	self, err := os.Executable()
	if err != nil {
		return err
	}
	command := exec.Command(self, append([]string{componentArgument, c.name}, c.arguments...)...)
	command.Stdout, command.Stderr = log, log
	lifeline, err := command.StdinPipe()
	if err != nil {
		return err
	}
	if err := command.Start(); err != nil {
		return fmt.Errorf("starting %s: %w", c.name, err)
	}
	process := &running{command: command, lifeline: lifeline, ended: make(chan struct{})}
	c.running = process
	go func() {
		err := command.Wait()
		close(process.ended)
		c.lock.Lock()
		defer c.lock.Unlock()
		if !process.wanted {
			c.failed <- fmt.Errorf("%s ended by itself (%v): see %s", c.name, err, c.log)
		}
	}()
	return nil
}

// stop kills the process, if it runs, and waits for its end.
func (c *component) stop() {
	c.lock.Lock()
	process := c.running
	c.running = nil
	if process != nil {
		process.wanted = true
	}
	c.lock.Unlock()
	if process == nil {
		return
	}
	_ = process.command.Process.Kill()
	_ = process.lifeline.Close()
	<-process.ended
}
