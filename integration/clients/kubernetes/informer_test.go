package kubernetes

import (
	"context"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"github.com/respawnhttp/respawn/integration/clients"
)

// A feed is an API server whose newest watch sees a config map for each name that is added.
type feed struct {
	watches atomic.Int32
	newest  atomic.Pointer[chan string]
}

func (f *feed) add(name string) { *f.newest.Load() <- name }

func (f *feed) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	query := req.URL.Query()
	if query.Get("watch") == "" {
		fmt.Fprint(w, `{"kind":"ConfigMapList","apiVersion":"v1","metadata":{"resourceVersion":"1"},"items":[]}`)
		return
	}
	names := make(chan string, 1)
	f.newest.Store(&names)
	f.watches.Add(1)
	send := func(event string) {
		fmt.Fprint(w, event)
		_ = http.NewResponseController(w).Flush()
	}
	if query.Get("sendInitialEvents") == "true" {
		send(`{"type":"BOOKMARK","object":{"kind":"ConfigMap","apiVersion":"v1","metadata":` +
			`{"resourceVersion":"1","annotations":{"k8s.io/initial-events-end":"true"}}}}` + "\n")
	}
	for {
		select {
		case name := <-names:
			send(event(name))
		case <-req.Context().Done():
			return
		}
	}
}

// inform starts an informer above the transport, and returns what it has been told of so
// far. The informer ends with ctx, and stop waits for that.
func inform(ctx context.Context, t *testing.T, url string, rt http.RoundTripper) (told func() []string, stop func()) {
	all, err := kubernetes.NewForConfigAndClient(&rest.Config{Host: url}, &http.Client{Transport: rt})
	require.NoError(t, err)
	factory := informers.NewSharedInformerFactory(all, 0)
	informer := factory.Core().V1().ConfigMaps().Informer()
	var names []string
	_, err = informer.AddEventHandler(cache.ResourceEventHandlerFuncs{AddFunc: func(added any) {
		names = append(names, added.(metav1.Object).GetName())
	}})
	require.NoError(t, err)
	factory.Start(ctx.Done())
	require.True(t, cache.WaitForCacheSync(ctx.Done(), informer.HasSynced))
	return func() []string {
		synctest.Wait()
		return names
	}, factory.Shutdown
}

// An informer keeps its watch, and so the transport that it began on, across a swap. When
// the watch goes silent, respawn sees no wait for an answer: client-go's pings end it, and
// the informer watches anew.
func TestInformerOutlivesRecreateAndABlackHole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &feed{}
		client := clientGo(typed)
		client.Upstream = api
		w := clients.NewWorld(t, client)
		rt := w.Respawn()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		told, stop := inform(ctx, t, w.URL, rt)

		api.add("a")
		assert.Equal(t, []string{"a"}, told())
		require.NoError(t, rt.Recreate(ctx))
		api.add("b")
		assert.Equal(t, []string{"a", "b"}, told())
		assert.EqualValues(t, 1, api.watches.Load())
		assert.Equal(t, 1, rt.Health().Draining, "the watch is not on the retired transport")

		w.Host.BlackHoleConnections()
		time.Sleep(time.Minute)
		api.add("c")
		assert.Equal(t, []string{"a", "b", "c"}, told())
		assert.EqualValues(t, 2, api.watches.Load())

		cancel()
		stop()
		w.End(rt)
	})
}
