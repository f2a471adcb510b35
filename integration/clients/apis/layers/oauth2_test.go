package layers

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/integration/clients"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

func Example_oauth2() {
	server := httptest.NewServer(withTokens(clients.Hello, time.Hour))
	defer server.Close()

	rt, err := respawn.New(nil)
	if err != nil {
		log.Fatal(err)
	}
	defer rt.Close()
	// The client that asks for tokens. Without a Timeout it may wait for a token for
	// good, and everybody waits with it.
	tokens := &http.Client{Transport: rt, Timeout: 10 * time.Second}
	ctx := context.WithValue(context.Background(), oauth2.HTTPClient, tokens)
	config := clientcredentials.Config{ClientID: "id", ClientSecret: "secret", TokenURL: server.URL + "/token", AuthStyle: oauth2.AuthStyleInHeader}
	client := &http.Client{Transport: &oauth2.Transport{Source: config.TokenSource(ctx), Base: rt}}

	resp, err := client.Get(server.URL)
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	fmt.Printf("%s %v\n", body, err)
	// Output: hello <nil>
}

// withTokens serves tokens, and next to whoever has one.
func withTokens(next http.Handler, lifetime time.Duration) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		switch {
		case req.URL.Path == "/token":
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(w, `{"access_token":"token","token_type":"Bearer","expires_in":%d}`, int(lifetime.Seconds()))
		case req.Header.Get("Authorization") != "Bearer token":
			http.Error(w, "no token", http.StatusUnauthorized)
		default:
			next.ServeHTTP(w, req)
		}
	})
}

// authorized returns what Example_oauth2 makes, with a Timeout of the token client's.
func authorized(rt http.RoundTripper, tokenURL string, timeout time.Duration) *http.Client {
	tokens := &http.Client{Transport: rt, Timeout: timeout}
	ctx := context.WithValue(context.Background(), oauth2.HTTPClient, tokens)
	config := clientcredentials.Config{ClientID: "id", ClientSecret: "secret", TokenURL: tokenURL, AuthStyle: oauth2.AuthStyleInHeader}
	return &http.Client{Transport: &oauth2.Transport{Source: config.TokenSource(ctx), Base: rt}}
}

var withToken = clients.Client{
	Upstream: withTokens(clients.Hello, time.Hour),
	Adopt: func(_ testing.TB, rt http.RoundTripper, url string) clients.Calls {
		return clients.Get(authorized(rt, url+"/token", 10*time.Second), url)
	},
}

// Where a token lasts, the incidents hit the request, and else the fetch of a token, which
// is a POST.
func TestOauth2(t *testing.T) {
	t.Run("with a token", withToken.Test)
	without := withToken
	without.Upstream = withTokens(clients.Hello, time.Second)
	t.Run("without", without.Test)
}

// A token is asked for under the context of the token source, not of the request: only
// the Timeout of the token client ends that, and the deadline of the request does not.
func TestOauth2WaitsForTokensWithoutEnd(t *testing.T) {
	for timeout, most := range map[time.Duration]time.Duration{0: time.Hour, 10 * time.Second: 10 * time.Second} {
		t.Run(timeout.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := clients.NewWorld(t, withToken)
				issuer := w.Network.Serve("issuer.test:80", withTokens(nil, time.Hour))
				issuer.Freeze()
				rt := w.Respawn()
				calls := clients.Get(authorized(rt, "http://issuer.test/token", timeout), w.URL)

				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
				defer cancel()
				time.AfterFunc(time.Hour, issuer.Heal)
				start := time.Now()
				require.Error(t, calls.Call(ctx))
				assert.Equal(t, most, time.Since(start).Truncate(time.Second))
				time.Sleep(2 * time.Hour)
				w.End(rt)
			})
		})
	}
}

// What Config.Client returns has the Timeout of the token client, which cuts streams.
func TestOauth2sClientTakesTheTimeoutAlong(t *testing.T) {
	ctx := context.WithValue(t.Context(), oauth2.HTTPClient, &http.Client{Timeout: time.Second})
	assert.Equal(t, time.Second, new(clientcredentials.Config).Client(ctx).Timeout, "the trap is gone")
}

// While a token is asked for, all others that need one wait, whatever their deadlines.
func TestOauth2HoldsALockWhileItWaits(t *testing.T) {
	var asked atomic.Int32
	answer := make(chan struct{})
	tokens := oauth2.ReuseTokenSource(nil, tokenFunc(func() (*oauth2.Token, error) {
		asked.Add(1)
		<-answer
		return &oauth2.Token{AccessToken: "token"}, nil
	}))
	var callers sync.WaitGroup
	for range 2 {
		callers.Go(func() { _, _ = tokens.Token() })
	}
	waits := func() bool {
		stacks := make([]byte, 1<<20)
		stacks = stacks[:runtime.Stack(stacks, true)]
		return bytes.Contains(stacks, []byte("lockSlow")) && bytes.Contains(stacks, []byte("reuseTokenSource"))
	}
	for asked.Load() < 2 && !waits() {
		runtime.Gosched()
	}
	assert.EqualValues(t, 1, asked.Load(), "the trap is gone")
	close(answer)
	callers.Wait()
}

type tokenFunc func() (*oauth2.Token, error)

func (f tokenFunc) Token() (*oauth2.Token, error) { return f() }
