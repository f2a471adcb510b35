package servers

import (
	"context"
	"io"
	"net/http"
	"testing"
	"testing/synctest"

	"github.com/gin-gonic/gin"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/respawnhttp/respawn"
)

// ginMiddleware is a net/http middleware as one of gin's, which has no such adapter.
func ginMiddleware(mw func(http.Handler) http.Handler) gin.HandlerFunc {
	return func(c *gin.Context) {
		mw(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
			c.Request = req
			c.Next()
		})).ServeHTTP(c.Writer, c.Request)
	}
}

// A gin.Context is a context.Context, but not the one with the client: that is the
// request's, unless the engine has ContextWithFallback.
func TestGinContextHasTheClientOnlyWithFallback(t *testing.T) {
	for _, fallback := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, http.HandlerFunc(hammer))
			engine := gin.New()
			engine.ContextWithFallback = fallback
			engine.Use(ginMiddleware(respawn.Middleware(w.rt)))
			var byContext, byCopy, byRequest bool
			engine.GET("/", func(c *gin.Context) {
				_, byContext = respawn.ClientFromContext(c)
				_, byCopy = respawn.ClientFromContext(c.Copy())
				_, byRequest = respawn.ClientFromContext(c.Request.Context())
			})
			w.serve(engine)
			_, _, err := w.get(t, "/")
			require.NoError(t, err)
			assert.Equal(t, fallback, byContext)
			assert.Equal(t, fallback, byCopy)
			assert.True(t, byRequest)
		})
	}
}

// gin asks for a copy of its context in a goroutine. The copy keeps the request, and so
// the client, but the request's context still ends with the answer.
func TestGinCopyInAGoroutineWantsAContextOfItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, http.HandlerFunc(hammer))
		engine := gin.New()
		engine.Use(ginMiddleware(respawn.Middleware(w.rt)))
		var errs []error
		var bodies []string
		done := make(chan struct{})
		engine.GET("/", func(c *gin.Context) {
			copied := c.Copy()
			go func() {
				defer close(done)
				settle() // the answer is out
				for _, ctx := range []context.Context{copied.Request.Context(), context.WithoutCancel(copied.Request.Context())} {
					body, err := ask(ctx)
					bodies, errs = append(bodies, body), append(errs, err)
				}
			}()
		})
		w.serve(engine)
		_, _, err := w.get(t, "/")
		require.NoError(t, err)
		<-done
		assert.ErrorIs(t, errs[0], context.Canceled)
		assert.NoError(t, errs[1])
		assert.Equal(t, "hammer", bodies[1])
	})
}

// gin.Recovery, which gin.Default has, takes http.ErrAbortHandler for a visitor who has
// left, and swallows it: a chunked answer ends as if it were whole. A handler that
// streams from an upstream needs a recovery that lets http.ErrAbortHandler pass.
func TestGinRecoveryMakesABrokenAnswerLookWhole(t *testing.T) {
	for name, recovery := range map[string]gin.HandlerFunc{
		"swallows":     gin.RecoveryWithWriter(io.Discard),
		"lets it pass": recoverAllButAborts,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, http.HandlerFunc(breaks))
				engine := gin.New()
				engine.Use(recovery, ginMiddleware(respawn.Middleware(w.rt)))
				engine.GET("/item", func(c *gin.Context) { fetch(c.Writer, c.Request) })
				engine.GET("/bug", func(*gin.Context) { panic("bug") })
				w.serve(engine)
				status, body, err := w.get(t, "/item")
				assert.Equal(t, http.StatusOK, status)
				assert.Equal(t, "ham", body)
				if name == "swallows" {
					assert.NoError(t, err)
				} else {
					assert.ErrorIs(t, err, io.ErrUnexpectedEOF)
				}
				status, _, err = w.get(t, "/bug")
				require.NoError(t, err)
				assert.Equal(t, http.StatusInternalServerError, status)
			})
		})
	}
}

// recoverAllButAborts is a recovery for handlers that stream from an upstream: it lets
// http.ErrAbortHandler pass.
func recoverAllButAborts(c *gin.Context) {
	defer func() {
		switch v := recover(); v {
		case nil:
		case http.ErrAbortHandler:
			panic(v)
		default:
			c.AbortWithStatus(http.StatusInternalServerError)
		}
	}()
	c.Next()
}
