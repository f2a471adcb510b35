package kubernetes

import (
	"context"
	"encoding/pem"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/respawnhttp/respawn"
)

// The factory has client-go build its own transport, with what the config says of
// certificates, tokens and commands, and files read again. A config with a Proxy is not
// cached: otherwise rest.TransportFor would return the transport that is in service.
// dynamic.NewForConfigAndClient takes the client in the same way.
func Example_clientGo() {
	server := httptest.NewTLSServer(apiserver)
	defer server.Close()
	config := &rest.Config{ // or rest.InClusterConfig()
		Host:            server.URL,
		BearerToken:     "token",
		TLSClientConfig: rest.TLSClientConfig{CAData: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})},
	}

	rt, err := respawn.New(nil, respawn.WithName("kubernetes"), respawn.WithFactory(func(context.Context) (http.RoundTripper, error) {
		fresh := rest.CopyConfig(config)
		if fresh.Proxy == nil {
			fresh.Proxy = http.ProxyFromEnvironment
		}
		return rest.TransportFor(fresh)
	}))
	if err != nil {
		log.Fatal(err)
	}
	defer rt.Close()
	client, err := kubernetes.NewForConfigAndClient(config, &http.Client{Transport: rt, Timeout: config.Timeout})
	if err != nil {
		log.Fatal(err)
	}

	got, err := client.CoreV1().ConfigMaps("default").Get(context.Background(), "hello", metav1.GetOptions{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(got.GetName())
	// Output: hello
}
