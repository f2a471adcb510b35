package build

import (
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/respawnhttp/respawn/internal/testkit"
	"github.com/respawnhttp/respawn/internal/testnet"
)

// One lost keep-alive probe would end a connection if the kernel's limit were not
// above the first two.
func TestTheKernelsLimitIsAboveTheFirstProbes(t *testing.T) {
	assert.Greater(t, UserTimeout, KeepAlive.Idle+2*KeepAlive.Interval)
	assert.Greater(t, UserTimeout, PingAfter+PingTimeout, "and pings come first")
}

// ours is NewTransport on a network of the tests', with the same settings.
func ours(n *testnet.Network) *http.Transport {
	tr := NewTransport()
	d := &testnet.Dialer{Network: n, KeepAliveConfig: KeepAlive, UserTimeout: UserTimeout}
	tr.DialContext = d.DialContext
	return tr
}

// A server that stops reading an upload is left alone for 30 s, and not for ever.
func TestAReaderThatPausesIsNotCut(t *testing.T) {
	for _, tt := range []struct {
		pause time.Duration
		cut   bool
	}{{30 * time.Second, false}, {45 * time.Second, false}, {3 * time.Minute, true}} {
		synctest.Test(t, func(t *testing.T) {
			n := testnet.New(t)
			n.Serve("a.test:80", http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				time.Sleep(tt.pause) // nothing of the body is read
				_, _ = io.Copy(io.Discard, req.Body)
			}))
			tr := ours(n)
			defer tr.CloseIdleConnections()
			begin := time.Now()
			upload := io.LimitReader(zeros{}, 8*testnet.SendBuffer)
			_, err := testkit.Do(tr, testkit.Request(t.Context(), http.MethodPost, "http://a.test/", upload))
			if !tt.cut {
				require.NoError(t, err, "after %v", time.Since(begin))
				return
			}
			require.Error(t, err)
			assert.GreaterOrEqual(t, time.Since(begin), UserTimeout)
			assert.Less(t, time.Since(begin), tt.pause)
			time.Sleep(tt.pause)
		})
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }
