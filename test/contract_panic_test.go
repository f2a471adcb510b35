package test

import (
	"context"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/internal/testkit"
)

// A transport that closes a request's body and then does not return has closed it for
// the caller, too.
func TestABodyIsClosedOnceWhereTheTransportDoesNotReturn(t *testing.T) {
	for name, end := range map[string]func(){"panic": func() { panic("the transport's") }, "Goexit": runtime.Goexit} {
		for kind, deadline := range map[string]time.Duration{"accompanied": time.Hour, "not accompanied": time.Second} {
			for when, after := range map[string]time.Duration{"at once": 0, "after a silence": 6 * time.Second} {
				if after > deadline {
					continue
				}
				t.Run(name+" "+kind+" "+when, func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						rt := start(t, testkit.RoundTripperFunc(func(req *http.Request) (*http.Response, error) {
							time.Sleep(after)
							testkit.CloseBody(req)
							end()
							return nil, nil
						}), patient(5*time.Second), respawn.WithFactory(fails))
						ctx, cancel := context.WithTimeout(t.Context(), deadline)
						defer cancel()
						body := track(strings.NewReader("body"))
						done := make(chan struct{})
						go func() {
							defer close(done)
							defer func() { _ = recover() }()
							_, _ = rt.RoundTrip(request(ctx, http.MethodPost, "http://a.test/", body))
						}()
						<-done
						assert.EqualValues(t, 1, body.closes.Load())
						rested(t, rt)
					})
				})
			}
		}
	}
}
