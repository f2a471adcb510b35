package build

import "net/http"

// Nothing is in service while there is no transport yet. It says that it has ended, so
// that no request is sent there.
type Nothing struct{}

// ErrNothing is the error of a request while the factory has given no transport yet.
var ErrNothing = NewKindError("no_transport", "respawn: there is no transport yet")

// RoundTrip implements [http.RoundTripper].
func (Nothing) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body != nil {
		_ = req.Body.Close()
	}
	return nil, ErrNothing
}

// Err reports that Nothing has ended.
func (Nothing) Err() error { return ErrNothing }
