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
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
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

// calls are what users of client-go do. The dynamic client and those of package
// kubernetes are made in the same way.
func calls(config *rest.Config, client *http.Client) (clients.Calls, error) {
	all, err := dynamic.NewForConfigAndClient(config, client)
	if err != nil {
		return clients.Calls{}, err
	}
	maps := all.Resource(schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}).Namespace("default")
	return clients.Calls{
		Call: func(ctx context.Context) error {
			got, err := maps.Get(ctx, "hello", metav1.GetOptions{})
			if err == nil && got.GetName() != "hello" {
				err = fmt.Errorf("answered %v", got)
			}
			return err
		},
		Stream: func(ctx context.Context, piece func(string)) error {
			watch, err := maps.Watch(ctx, metav1.ListOptions{})
			if err != nil {
				return err
			}
			defer watch.Stop()
			for event := range watch.ResultChan() {
				object, ok := event.Object.(*unstructured.Unstructured)
				if !ok {
					return fmt.Errorf("got %v", event)
				}
				piece(object.GetName())
			}
			return ctx.Err()
		},
	}, nil
}
