// The one node: Pods are bound to it and run, end, or break as their images' tags say.
//
// A tag that contains "broken" cannot be pulled; one that contains "fail" makes its container fail. Every other
// container runs, or ends well where its Pod's restartPolicy says that it ends. Skiff's sandbox has the same rules.

package main

import (
	"context"
	"fmt"
	"hash/fnv"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"
)

const nodeAddress = "192.0.2.1"

// fate is what becomes of a Pod.
type fate int

const (
	runs fate = iota
	succeeds
	fails
	// crashes: a container fails each time that it is started.
	crashes
	// unpullable: an image cannot be pulled.
	unpullable
)

type node struct {
	*cluster
	options options

	lock sync.Mutex
	// since is when a Pod was first seen in a phase.
	since map[types.UID]phaseSince
}

type phaseSince struct {
	phase corev1.PodPhase
	at    time.Time
}

// startNode registers the node and runs its Pods until the context ends.
func (c *cluster) startNode(ctx context.Context, options options) {
	node := &node{cluster: c, options: options, since: map[types.UID]phaseSince{}}
	nodes := c.informers.Core().V1().Nodes()
	keep(ctx, nodes.Informer(), func(ctx context.Context, name cache.ObjectName) (time.Duration, error) {
		if name.Name != options.nodeName {
			return 0, nil
		}
		return 0, node.register(ctx)
	})
	go func() {
		for node.register(ctx) != nil && ctx.Err() == nil {
			time.Sleep(lookEvery)
		}
	}()
	pods := c.informers.Core().V1().Pods()
	keep(ctx, pods.Informer(), func(ctx context.Context, name cache.ObjectName) (time.Duration, error) {
		pod, err := pods.Lister().Pods(name.Namespace).Get(name.Name)
		if apierrors.IsNotFound(err) {
			return 0, nil
		}
		if err != nil {
			return 0, err
		}
		again, err := node.reconcile(ctx, pod.DeepCopy())
		if apierrors.IsNotFound(err) {
			return 0, nil
		}
		return again, err
	})
}

// register makes the node, takes away the taint that admission gives to new ones, and reports it as ready.
func (n *node) register(ctx context.Context) error {
	nodes := n.client.CoreV1().Nodes()
	object, err := nodes.Get(ctx, n.options.nodeName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		labels := map[string]string{corev1.LabelHostname: n.options.nodeName, corev1.LabelOSStable: "linux", corev1.LabelArchStable: "amd64"}
		object = &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: n.options.nodeName, Labels: labels}}
		object, err = nodes.Create(ctx, object, metav1.CreateOptions{})
	}
	if err != nil {
		return err
	}
	if len(object.Spec.Taints) > 0 {
		object.Spec.Taints = nil
		if object, err = nodes.Update(ctx, object, metav1.UpdateOptions{}); err != nil {
			return err
		}
	}
	if len(object.Status.Conditions) > 0 {
		return nil
	}
	plenty := corev1.ResourceList{
		corev1.ResourceCPU:    resource.MustParse("1000"),
		corev1.ResourceMemory: resource.MustParse("1Ti"),
		corev1.ResourcePods:   resource.MustParse("100k"),
	}
	now := metav1.Now()
	object.Status = corev1.NodeStatus{
		Capacity:    plenty,
		Allocatable: plenty,
		Conditions: []corev1.NodeCondition{{
			Type: corev1.NodeReady, Status: corev1.ConditionTrue, Reason: "KubeletReady",
			LastHeartbeatTime: now, LastTransitionTime: now,
		}},
		Addresses: []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: nodeAddress}},
	}
	_, err = nodes.UpdateStatus(ctx, object, metav1.UpdateOptions{})
	return err
}

// reconcile brings a Pod one step nearer to its fate; the status that it writes leads to the next step.
func (n *node) reconcile(ctx context.Context, pod *corev1.Pod) (time.Duration, error) {
	pods := n.client.CoreV1().Pods(pod.Namespace)
	if pod.DeletionTimestamp != nil {
		n.forget(pod)
		if pod.DeletionGracePeriodSeconds != nil && *pod.DeletionGracePeriodSeconds == 0 {
			return 0, nil
		}
		now := int64(0)
		return 0, pods.Delete(ctx, pod.Name, metav1.DeleteOptions{
			GracePeriodSeconds: &now,
			Preconditions:      &metav1.Preconditions{UID: &pod.UID},
		})
	}
	if pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed || len(pod.Spec.SchedulingGates) > 0 {
		n.forget(pod)
		return 0, nil
	}
	if pod.Spec.NodeName == "" {
		return 0, pods.Bind(ctx, &corev1.Binding{
			ObjectMeta: metav1.ObjectMeta{Name: pod.Name, UID: pod.UID},
			Target:     corev1.ObjectReference{Kind: "Node", Name: n.options.nodeName},
		}, metav1.CreateOptions{})
	}
	if pod.Spec.NodeName != n.options.nodeName {
		return 0, nil
	}
	fate := fateOf(pod)
	isRunning := pod.Status.Phase == corev1.PodRunning
	var delay time.Duration
	next := fate
	switch {
	case fate == unpullable || fate == crashes:
	case !isRunning:
		delay, next = n.options.podReadyDelay, runs
	case fate == runs:
		return 0, nil
	default:
		delay = n.options.jobDuration
	}
	if left := delay - n.age(pod); left > 0 {
		return left, nil
	}
	if !setStatus(pod, next) {
		return 0, nil
	}
	_, err := pods.UpdateStatus(ctx, pod, metav1.UpdateOptions{})
	return 0, err
}

// age is for how long the Pod has been seen in its phase.
func (n *node) age(pod *corev1.Pod) time.Duration {
	n.lock.Lock()
	defer n.lock.Unlock()
	known, ok := n.since[pod.UID]
	if !ok || known.phase != pod.Status.Phase {
		known = phaseSince{pod.Status.Phase, time.Now()}
		n.since[pod.UID] = known
	}
	return time.Since(known.at)
}

func (n *node) forget(pod *corev1.Pod) {
	n.lock.Lock()
	defer n.lock.Unlock()
	delete(n.since, pod.UID)
}

func fateOf(pod *corev1.Pod) fate {
	any := func(word string) bool {
		for _, container := range append(append([]corev1.Container{}, pod.Spec.InitContainers...), pod.Spec.Containers...) {
			if hasTag(container, word) {
				return true
			}
		}
		return false
	}
	always := pod.Spec.RestartPolicy == corev1.RestartPolicyAlways
	switch {
	case any("broken"):
		return unpullable
	case any("fail") && always:
		return crashes
	case any("fail"):
		return fails
	case always:
		return runs
	default:
		return succeeds
	}
}

// hasTag says whether the container's image has this word in its tag.
func hasTag(container corev1.Container, word string) bool {
	name := container.Image[strings.LastIndex(container.Image, "/")+1:]
	_, tag, _ := strings.Cut(name, ":")
	return strings.Contains(tag, word)
}

// setStatus writes what a kubelet would report, and says whether that is news.
func setStatus(pod *corev1.Pod, fate fate) bool {
	var phase corev1.PodPhase
	switch fate {
	case unpullable:
		phase = corev1.PodPending
	case runs, crashes:
		phase = corev1.PodRunning
	case succeeds:
		phase = corev1.PodSucceeded
	case fails:
		phase = corev1.PodFailed
	}
	if pod.Status.Phase == phase && len(pod.Status.ContainerStatuses) > 0 {
		return false
	}
	ended := fate == succeeds || fate == fails
	reason := "ContainersNotReady"
	switch fate {
	case succeeds:
		reason = "PodCompleted"
	case fails:
		reason = "PodFailed"
	}
	now := metav1.Now()
	status := &pod.Status
	if status.StartTime == nil {
		status.StartTime = &now
	}
	status.Phase = phase
	status.HostIP, status.HostIPs = nodeAddress, []corev1.HostIP{{IP: nodeAddress}}
	if fate != unpullable {
		address := podAddress(pod.UID)
		status.PodIP, status.PodIPs = address, []corev1.PodIP{{IP: address}}
	}
	status.InitContainerStatuses = containerStatuses(pod, pod.Spec.InitContainers, fate, true)
	status.ContainerStatuses = containerStatuses(pod, pod.Spec.Containers, fate, false)
	setCondition(status, corev1.PodReadyToStartContainers, !ended, "")
	setCondition(status, corev1.PodInitialized, true, "")
	setCondition(status, corev1.PodReady, fate == runs, reason)
	setCondition(status, corev1.ContainersReady, fate == runs, reason)
	setCondition(status, corev1.PodScheduled, true, "")
	return true
}

func setCondition(status *corev1.PodStatus, kind corev1.PodConditionType, holds bool, reasonIfNot string) {
	condition := corev1.PodCondition{Type: kind, Status: corev1.ConditionTrue, LastTransitionTime: metav1.Now()}
	if !holds {
		condition.Status, condition.Reason = corev1.ConditionFalse, reasonIfNot
	}
	for i, old := range status.Conditions {
		if old.Type == kind {
			if old.Status == condition.Status {
				condition.LastTransitionTime = old.LastTransitionTime
			}
			status.Conditions[i] = condition
			return
		}
	}
	status.Conditions = append(status.Conditions, condition)
}

func containerStatuses(pod *corev1.Pod, containers []corev1.Container, fate fate, areInit bool) []corev1.ContainerStatus {
	var statuses []corev1.ContainerStatus
	now := metav1.Now()
	for _, container := range containers {
		status := corev1.ContainerStatus{Name: container.Name, Image: container.Image}
		id := fmt.Sprintf("control-plane://%s/%s", pod.UID, container.Name)
		if fate != unpullable {
			status.ImageID, status.ContainerID = "control-plane://"+container.Image, id
		}
		ended := func(code int32, reason string) *corev1.ContainerStateTerminated {
			return &corev1.ContainerStateTerminated{
				ExitCode: code, Reason: reason, StartedAt: *pod.Status.StartTime, FinishedAt: now, ContainerID: id,
			}
		}
		waiting := func(reason, message string) *corev1.ContainerStateWaiting {
			return &corev1.ContainerStateWaiting{Reason: reason, Message: message}
		}
		switch {
		case fate == unpullable && hasTag(container, "broken"):
			status.State.Waiting = waiting("ImagePullBackOff", fmt.Sprintf("Back-off pulling image %q", container.Image))
		case fate == unpullable:
			status.State.Waiting = waiting("PodInitializing", "")
		case fate == crashes && hasTag(container, "fail"):
			status.State.Waiting = waiting("CrashLoopBackOff", "back-off 10s restarting failed container="+container.Name)
		case fate == fails && hasTag(container, "fail"):
			status.State.Terminated = ended(1, "Error")
		case areInit:
			status.State.Terminated = ended(0, "Completed")
			status.Ready = true
		case fate == runs || fate == crashes:
			status.State.Running = &corev1.ContainerStateRunning{StartedAt: now}
			status.Ready = true
		default:
			status.State.Terminated = ended(0, "Completed")
		}
		started := status.State.Running != nil
		status.Started = &started
		statuses = append(statuses, status)
	}
	return statuses
}

// podAddress is an address in 10.244.0.0/16 that depends on the Pod.
func podAddress(uid types.UID) string {
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(uid))
	sum := hash.Sum32()
	return fmt.Sprintf("10.244.%d.%d", byte(sum>>8), max(byte(sum), 1))
}
