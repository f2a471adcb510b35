package test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/internal/testkit"
)

// Without the method on the wrapper http.Client.CloseIdleConnections is a
// silent no-op.
func TestContractClientCloseIdleConnections(t *testing.T) {
	for _, proto := range protocols {
		t.Run(proto.name, func(t *testing.T) {
			noLeaks(t)
			srv, transport := proto.serve(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				fmt.Fprint(w, req.RemoteAddr)
			}))
			client := &http.Client{Transport: start(t, transport())}
			fetch := func() (addr string) {
				resp, err := client.Get(srv.URL)
				require.NoError(t, err)
				defer resp.Body.Close()
				b, err := io.ReadAll(resp.Body)
				require.NoError(t, err)
				return string(b)
			}
			first := fetch()
			require.Equal(t, first, fetch(), "the connection must be pooled")
			client.CloseIdleConnections()
			assert.NotEqual(t, first, fetch(), "the pooled connection must have been closed")
		})
	}
}

// counted is a transport that counts what it is asked for.
type counted struct {
	base            *http.Transport
	attempts, dials atomic.Int64
}

func (c *counted) RoundTrip(req *http.Request) (*http.Response, error) {
	c.attempts.Add(1)
	return c.base.RoundTrip(req)
}

func countedTransport(t *testing.T) *counted {
	c := &counted{}
	c.base = &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		c.dials.Add(1)
		return new(net.Dialer).DialContext(ctx, network, addr)
	}}
	t.Cleanup(c.base.CloseIdleConnections)
	return c
}

// With respawn.ReplayNever respawn cannot be told from the bare transport by anybody
// who counts attempts and dials, until it trips.
func TestContractReplayNeverIsInvisible(t *testing.T) {
	refusing := refusingAddr(t)
	type outcome struct {
		Attempts, Dials, Hits int64
		Results               []string
	}
	urls := map[string]func(srv string) string{
		"success":                    func(srv string) string { return srv },
		"refused":                    func(string) string { return "http://" + refusing },
		"server hangs up":            func(srv string) string { return srv + "/cut" },
		"cut on a reused connection": func(srv string) string { return srv + "/cut-second" },
	}
	for name, target := range urls {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			t.Run(name+"/"+method, func(t *testing.T) {
				noLeaks(t)
				measure := func(wrap func(http.RoundTripper) http.RoundTripper) outcome {
					var hits atomic.Int64
					srv, _ := h1.serve(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
						n := hits.Add(1)
						if req.URL.Path == "/cut" || req.URL.Path == "/cut-second" && n == 2 {
							_, _ = io.Copy(io.Discard, req.Body)
							panic(http.ErrAbortHandler)
						}
						fmt.Fprint(w, "ok")
					}))
					c := countedTransport(t)
					rt := wrap(c)
					var o outcome
					for range 2 { // one less than trips
						var body io.Reader
						if method == http.MethodPost {
							body = io.MultiReader(strings.NewReader(payload))
						}
						code, err := testkit.Do(rt, request(t.Context(), method, target(srv.URL), body))
						result := fmt.Sprint(code)
						if err != nil {
							result = strings.ReplaceAll(err.Error(), srv.Listener.Addr().String(), "server")
							if i := strings.Index(result, "->server"); i > 0 { // the ephemeral port before it
								result = result[i:]
							}
						}
						o.Results = append(o.Results, result)
					}
					o.Attempts, o.Dials, o.Hits = c.attempts.Load(), c.dials.Load(), hits.Load()
					return o
				}
				bare := measure(func(rt http.RoundTripper) http.RoundTripper { return rt })
				ours := measure(func(rt http.RoundTripper) http.RoundTripper {
					return start(t, rt, respawn.WithReplay(respawn.ReplayNever), respawn.WithFactory(fails))
				})
				assert.Equal(t, bare, ours)
				assert.EqualValues(t, 2, ours.Attempts)
			})
		}
	}
}

// refusingAddr is a loopback address where nobody listens.
func refusingAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().String()
}

func TestContractRedirectsAndCookies(t *testing.T) {
	for _, proto := range protocols {
		t.Run(proto.name, func(t *testing.T) {
			noLeaks(t)
			srv, transport := proto.serve(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				switch req.URL.Path {
				case "/login":
					http.SetCookie(w, &http.Cookie{Name: "session", Value: "42", Path: "/"})
					http.Redirect(w, req, "/home", http.StatusTemporaryRedirect) // with its body again
				default:
					c, err := req.Cookie("session")
					if err != nil {
						http.Error(w, "no cookie", http.StatusForbidden)
						return
					}
					b, _ := io.ReadAll(req.Body)
					fmt.Fprintf(w, "%s %s %s", req.Method, c.Value, b)
				}
			}))
			jar, err := cookiejar.New(nil)
			require.NoError(t, err)
			client := &http.Client{Transport: start(t, transport()), Jar: jar}
			resp, err := client.Post(srv.URL+"/login", "text/plain", strings.NewReader(payload))
			require.NoError(t, err)
			defer resp.Body.Close()
			got, err := io.ReadAll(resp.Body)
			require.NoError(t, err)
			assert.Equal(t, "POST 42 "+payload, string(got))
			assert.Equal(t, "/home", resp.Request.URL.Path)
			assert.NotNil(t, resp.Request.Response, "http.Client links a redirect's request to its cause")
		})
	}
}
