package requirement

import (
	"context"
	"fmt"
	"reflect"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Client makes and deletes objects of one kind. The typed clients of client-go and of projects that generate theirs alike are
// such: kube.CoreV1().Services(namespace).
type Client[T metav1.Object] interface {
	Create(ctx context.Context, object T, options metav1.CreateOptions) (T, error)
	Delete(ctx context.Context, name string, options metav1.DeleteOptions) error
}

// Deletion alters how an object that was made is deleted.
type Deletion func(*metav1.DeleteOptions)

// AtOnce deletes a pod without a grace period: what is to run on no node need not be waited for.
func AtOnce(o *metav1.DeleteOptions) { o.GracePeriodSeconds = new(int64) }

// WithDependents deletes the objects that the object owns too, after it: a Deployment's ReplicaSets and pods.
func WithDependents(o *metav1.DeleteOptions) {
	background := metav1.DeletePropagationBackground
	o.PropagationPolicy = &background
}

// Create makes the object and gives it as the API server keeps it, with a function that removes it again. Both errors say
// which object they are about; IgnoreNotFound and apierrors see through them.
//
// remove deletes this object and no later one of its name. It is safe to call after the object is gone.
func Create[T metav1.Object](ctx context.Context, client Client[T], object T, how ...Deletion) (made T, remove func(context.Context) error, err error) {
	made, err = client.Create(ctx, object, metav1.CreateOptions{})
	if err != nil {
		var none T
		return none, nil, fmt.Errorf("making the %s: %w", describe(object), err)
	}
	what, name, uid := describe(made), made.GetName(), made.GetUID()
	return made, func(ctx context.Context) error {
		var options metav1.DeleteOptions
		if uid != "" {
			options.Preconditions = &metav1.Preconditions{UID: &uid}
		}
		for _, alter := range how {
			alter(&options)
		}
		err := client.Delete(ctx, name, options)
		if apierrors.IsNotFound(err) || apierrors.IsConflict(err) { // a conflict: another object has its name
			return nil
		}
		if err != nil {
			return fmt.Errorf("removing the %s: %w", what, err)
		}
		return nil
	}, nil
}

// Own makes an object of the check's own, as Create does, and removes it after the check.
func Own[T metav1.Object](ctx context.Context, env *Env, client Client[T], object T, how ...Deletion) (T, error) {
	made, remove, err := Create(ctx, client, object, how...)
	if err == nil {
		env.Defer(remove)
	}
	return made, err
}

// IgnoreNotFound is nil for the error of an object that is not there, which is no error for who wants it gone.
func IgnoreNotFound(err error) error {
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// describe names an object by kind, namespace and name. Objects of typed clients don't carry their kind: their type has its name.
func describe(object metav1.Object) string {
	t := reflect.TypeOf(object)
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	name := object.GetName()
	if name == "" {
		name = object.GetGenerateName() + "*"
	}
	if namespace := object.GetNamespace(); namespace != "" {
		name = namespace + "/" + name
	}
	return t.Name() + " " + name
}
