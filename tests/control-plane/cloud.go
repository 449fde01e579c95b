// What a cloud does for a cluster: volumes for claims, and addresses for load balancers and Ingresses.

package main

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"
)

const (
	// provisioner makes the volumes of the default StorageClass.
	provisioner = "control-plane.test/volumes"
	// loadBalancerAddress is reserved for documentation.
	loadBalancerAddress = "192.0.2.10"
)

// The annotations by which the volume controller and a provisioner talk.
const (
	wantedFrom    = "volume.kubernetes.io/storage-provisioner"
	provisionedBy = "pv.kubernetes.io/provisioned-by"
)

func (c *cluster) startCloud(ctx context.Context) {
	go func() {
		for c.makeStorageClass(ctx) != nil && ctx.Err() == nil {
			time.Sleep(lookEvery)
		}
	}()
	claims := c.informers.Core().V1().PersistentVolumeClaims()
	keep(ctx, claims.Informer(), func(ctx context.Context, name cache.ObjectName) (time.Duration, error) {
		claim, err := claims.Lister().PersistentVolumeClaims(name.Namespace).Get(name.Name)
		if err != nil || claim.Annotations[wantedFrom] != provisioner || claim.Spec.VolumeName != "" || claim.DeletionTimestamp != nil {
			return 0, nil
		}
		_, err = c.client.CoreV1().PersistentVolumes().Create(ctx, volumeFor(claim), metav1.CreateOptions{})
		if apierrors.IsAlreadyExists(err) {
			return 0, nil
		}
		return 0, err
	})
	volumes := c.informers.Core().V1().PersistentVolumes()
	keep(ctx, volumes.Informer(), func(ctx context.Context, name cache.ObjectName) (time.Duration, error) {
		volume, err := volumes.Lister().Get(name.Name)
		isOurs := err == nil && volume.Annotations[provisionedBy] == provisioner && volume.DeletionTimestamp == nil
		if !isOurs || volume.Status.Phase != corev1.VolumeReleased {
			return 0, nil
		}
		return 0, ignoreNotFound(c.client.CoreV1().PersistentVolumes().Delete(ctx, name.Name, metav1.DeleteOptions{}))
	})
	services := c.informers.Core().V1().Services()
	keep(ctx, services.Informer(), func(ctx context.Context, name cache.ObjectName) (time.Duration, error) {
		service, err := services.Lister().Services(name.Namespace).Get(name.Name)
		if err != nil || service.DeletionTimestamp != nil {
			return 0, nil
		}
		isBalanced := service.Spec.Type == corev1.ServiceTypeLoadBalancer
		if isBalanced == (len(service.Status.LoadBalancer.Ingress) > 0) {
			return 0, nil
		}
		service = service.DeepCopy()
		service.Status.LoadBalancer = corev1.LoadBalancerStatus{}
		if isBalanced {
			service.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: loadBalancerAddress}}
		}
		_, err = c.client.CoreV1().Services(name.Namespace).UpdateStatus(ctx, service, metav1.UpdateOptions{})
		return 0, ignoreNotFound(err)
	})
	ingresses := c.informers.Networking().V1().Ingresses()
	keep(ctx, ingresses.Informer(), func(ctx context.Context, name cache.ObjectName) (time.Duration, error) {
		ingress, err := ingresses.Lister().Ingresses(name.Namespace).Get(name.Name)
		if err != nil || ingress.DeletionTimestamp != nil || len(ingress.Status.LoadBalancer.Ingress) > 0 {
			return 0, nil
		}
		ingress = ingress.DeepCopy()
		ingress.Status.LoadBalancer.Ingress = []networkingv1.IngressLoadBalancerIngress{{IP: loadBalancerAddress}}
		_, err = c.client.NetworkingV1().Ingresses(name.Namespace).UpdateStatus(ctx, ingress, metav1.UpdateOptions{})
		return 0, ignoreNotFound(err)
	})
}

func (c *cluster) makeStorageClass(ctx context.Context) error {
	class := &storagev1.StorageClass{
		ObjectMeta: metav1.ObjectMeta{
			Name:        "standard",
			Annotations: map[string]string{"storageclass.kubernetes.io/is-default-class": "true"},
		},
		Provisioner: provisioner,
	}
	_, err := c.client.StorageV1().StorageClasses().Create(ctx, class, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}

// volumeFor makes the volume that is meant for this claim alone.
func volumeFor(claim *corev1.PersistentVolumeClaim) *corev1.PersistentVolume {
	name := "pvc-" + string(claim.UID)
	volume := &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{provisionedBy: provisioner}},
		Spec: corev1.PersistentVolumeSpec{
			Capacity:    claim.Spec.Resources.Requests,
			AccessModes: claim.Spec.AccessModes,
			VolumeMode:  claim.Spec.VolumeMode,
			ClaimRef: &corev1.ObjectReference{
				APIVersion: "v1", Kind: "PersistentVolumeClaim",
				Namespace: claim.Namespace, Name: claim.Name, UID: claim.UID,
			},
			PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimDelete,
			PersistentVolumeSource: corev1.PersistentVolumeSource{
				HostPath: &corev1.HostPathVolumeSource{Path: "/control-plane/" + name},
			},
		},
	}
	if claim.Spec.StorageClassName != nil {
		volume.Spec.StorageClassName = *claim.Spec.StorageClassName
	}
	return volume
}

func ignoreNotFound(err error) error {
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}
