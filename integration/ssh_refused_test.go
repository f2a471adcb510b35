package integration

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/respawntest"
)

// tunnelIsWell is the classifier of DefaultClassifier's documentation: where the far end of
// a tunnel refuses a connection, the tunnel itself is well.
func tunnelIsWell(req *http.Request, err error) respawn.Verdict {
	if _, ok := errors.AsType[*ssh.OpenChannelError](err); ok {
		return respawn.Neutral
	}
	return respawn.DefaultClassifier(req, err)
}

// An sshd that is well but cannot reach the upstream says so with an error type of its own. Without
// the classifier respawn tries fresh SSH connections, which cannot help. With the classifier it tries
// none, and an SSH connection that ends is still replaced.
func TestAnSSHServerThatCannotReachTheUpstream(t *testing.T) {
	for _, tt := range []struct {
		name  string
		opts  []respawn.Option
		tried bool
	}{
		{"by default", nil, true},
		{"classified", []respawn.Option{respawn.WithClassifier(tunnelIsWell)}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := respawntest.NewNetwork(t)
			n.Listen("api.test:80").Refuse()
			hostKey := serveSSH(t, n).hostKey
			base, err := dialSSH(t.Context(), n, hostKey)
			require.NoError(t, err)
			var built atomic.Int64
			factory := func(ctx context.Context) (http.RoundTripper, error) {
				built.Add(1)
				return dialSSH(ctx, n, hostKey)
			}
			rt, err := respawn.New(base, append(tt.opts, respawn.WithFactory(factory))...)
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, rt.Shutdown(context.Background())) })
			get := func() error {
				req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://api.test/", nil)
				require.NoError(t, err)
				resp, err := rt.RoundTrip(req)
				if err == nil {
					require.NoError(t, resp.Body.Close())
				}
				return err
			}
			for range 5 {
				_, refused := errors.AsType[*ssh.OpenChannelError](get())
				require.True(t, refused, "the error is returned as it came")
			}
			assert.Equal(t, tt.tried, built.Load() > 0)
			assert.Equal(t, tt.tried, len(rt.Health().Streaks) > 0)
			assert.EqualValues(t, 1, rt.Health().Generation)
			if tt.tried {
				return
			}
			require.NoError(t, base.client.Close())
			for built.Load() == 0 {
				require.Error(t, get())
			}
		})
	}
}
