// The clients of what runs in this process, and how it is known that the cluster is alive.

package main

import (
	"context"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/util/workqueue"
)

// lookEvery is how often a start is looked at.
const lookEvery = 100 * time.Millisecond

type cluster struct {
	client    *kubernetes.Clientset
	informers informers.SharedInformerFactory
}

func newCluster(files credentials) (*cluster, error) {
	config, err := clientcmd.BuildConfigFromFlags("", files.administrator)
	if err != nil {
		return nil, err
	}
	// No limit: the API server has its own.
	config.QPS = -1
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	return &cluster{client, informers.NewSharedInformerFactory(client, 0)}, nil
}

// untilServing waits until the API server says that it is ready.
func (c *cluster) untilServing(ctx context.Context) error {
	var last error
	err := wait.PollUntilContextCancel(ctx, lookEvery, true, func(ctx context.Context) (bool, error) {
		last = c.client.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error()
		return last == nil, nil
	})
	if err != nil {
		return fmt.Errorf("waiting until the API server is ready: %w (last answer: %v)", err, last)
	}
	return nil
}

// untilAlive waits until Pods could run: there is a node, and the controllers have made what Pods need.
func (c *cluster) untilAlive(ctx context.Context, node string) error {
	err := wait.PollUntilContextCancel(ctx, lookEvery, true, func(ctx context.Context) (bool, error) {
		if _, err := c.client.CoreV1().ServiceAccounts("default").Get(ctx, "default", metav1.GetOptions{}); err != nil {
			return false, nil
		}
		found, err := c.client.CoreV1().Nodes().Get(ctx, node, metav1.GetOptions{})
		return err == nil && len(found.Spec.Taints) == 0 && len(found.Status.Conditions) > 0, nil
	})
	if err != nil {
		return fmt.Errorf("waiting for the node %s and the ServiceAccount default/default: %w", node, err)
	}
	return nil
}

// workers look at an object at a time, again after a failure, and again when they ask for it.
const workers = 4

// keep calls reconcile with the name of each object of an informer that changes, until the context ends.
// What it returns is after how long it wants to be called again; zero means not at all.
func keep(ctx context.Context, informer cache.SharedIndexInformer, reconcile func(context.Context, cache.ObjectName) (time.Duration, error)) {
	limits := workqueue.NewTypedItemExponentialFailureRateLimiter[cache.ObjectName](20*time.Millisecond, 2*time.Second)
	queue := workqueue.NewTypedRateLimitingQueue[cache.ObjectName](limits)
	add := func(object any) {
		if name, err := cache.DeletionHandlingObjectToName(object); err == nil {
			queue.Add(name)
		}
	}
	_, _ = informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    add,
		UpdateFunc: func(_, object any) { add(object) },
		DeleteFunc: add,
	})
	go informer.Run(ctx.Done())
	go func() {
		<-ctx.Done()
		queue.ShutDown()
	}()
	work := func() {
		for {
			name, ended := queue.Get()
			if ended {
				return
			}
			again, err := reconcile(ctx, name)
			if err == nil {
				queue.Forget(name)
			} else {
				queue.AddRateLimited(name)
			}
			if again > 0 {
				queue.AddAfter(name, again)
			}
			queue.Done(name)
		}
	}
	for range workers {
		go work()
	}
}
