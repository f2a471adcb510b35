package clients

import (
	"io"
	"net/http"
	"sync/atomic"
	"time"
)

// Pause is the time between two pieces of a stream: 20 s, so that each arrives by itself,
// and a Recreate that nobody's request proves is over before the next.
func Pause() { time.Sleep(20 * time.Second) }

// Pieces sends each piece and makes a Pause before the next.
func Pieces(w http.ResponseWriter, pieces ...string) {
	for i, piece := range pieces {
		if i > 0 {
			Pause()
		}
		if _, err := io.WriteString(w, piece); err != nil {
			return
		}
		if err := http.NewResponseController(w).Flush(); err != nil {
			return
		}
	}
}

// counter counts the requests that a library sends.
type counter struct {
	http.RoundTripper
	n atomic.Int64
}

func (c *counter) RoundTrip(req *http.Request) (*http.Response, error) {
	c.n.Add(1)
	return c.RoundTripper.RoundTrip(req)
}
