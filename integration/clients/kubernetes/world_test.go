package kubernetes

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"testing"

	"go.uber.org/goleak"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/respawnhttp/respawn/integration/clients"
)

func TestMain(m *testing.M) {
	if os.Getenv(credentialFor) != "" {
		printCredential()
		return
	}
	goleak.VerifyTestMain(m)
}

// apiserver answers what the tests ask of an API server: a config map, and a watch.
var apiserver = http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	if req.URL.Query().Get("watch") != "" {
		clients.Pieces(w, event("a"), event("b"), event("c"))
		return
	}
	_, _ = w.Write(configMap("hello"))
})

func configMap(name string) []byte {
	b, err := json.Marshal(map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]string{"name": name, "namespace": "default", "resourceVersion": "1"},
	})
	if err != nil {
		panic(err)
	}
	return b
}

func event(name string) string {
	return fmt.Sprintf(`{"type":"ADDED","object":%s}`+"\n", configMap(name))
}

// A constructor makes the calls of one of client-go's clients.
type constructor func(*rest.Config, *http.Client) (clients.Calls, error)

// typed are the calls of a clientset.
func typed(config *rest.Config, client *http.Client) (clients.Calls, error) {
	all, err := kubernetes.NewForConfigAndClient(config, client)
	if err != nil {
		return clients.Calls{}, err
	}
	maps := all.CoreV1().ConfigMaps("default")
	return clients.Calls{
		Call: func(ctx context.Context) error {
			got, err := maps.Get(ctx, "hello", metav1.GetOptions{})
			return wantHello(got, err)
		},
		Stream: func(ctx context.Context, piece func(string)) error {
			events, err := maps.Watch(ctx, metav1.ListOptions{})
			return names(ctx, events, err, piece)
		},
	}, nil
}

// untyped are the calls of a dynamic client.
func untyped(config *rest.Config, client *http.Client) (clients.Calls, error) {
	all, err := dynamic.NewForConfigAndClient(config, client)
	if err != nil {
		return clients.Calls{}, err
	}
	maps := all.Resource(schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}).Namespace("default")
	return clients.Calls{
		Call: func(ctx context.Context) error {
			got, err := maps.Get(ctx, "hello", metav1.GetOptions{})
			return wantHello(got, err)
		},
		Stream: func(ctx context.Context, piece func(string)) error {
			events, err := maps.Watch(ctx, metav1.ListOptions{})
			return names(ctx, events, err, piece)
		},
	}, nil
}

func wantHello(got metav1.Object, err error) error {
	if err == nil && got.GetName() != "hello" {
		err = fmt.Errorf("answered %v", got)
	}
	return err
}

// names calls piece with the name of each object that the watch sees.
func names(ctx context.Context, events watch.Interface, err error, piece func(string)) error {
	if err != nil {
		return err
	}
	defer events.Stop()
	for event := range events.ResultChan() {
		object, ok := event.Object.(metav1.Object)
		if !ok {
			return fmt.Errorf("got %v", event)
		}
		piece(object.GetName())
	}
	return ctx.Err()
}
