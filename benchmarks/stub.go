package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/respawnhttp/respawn"
)

// A stub answers at once with the response that the request brings with it,
// and allocates nothing. So each goroutine has a response of its own, which
// RoundTrippers around it may change.
type stub struct{ body io.ReadCloser }

func (s stub) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body != nil {
		req.Body.Close()
	}
	resp := req.Response // net/http's clients keep their redirects there
	resp.Body = s.body
	return resp, nil
}

// stubRequest is a request to a stub.
func stubRequest(url string) *http.Request {
	req := get(hurried{context.Background()}, url)
	req.Response = &http.Response{
		Status: "200 OK", StatusCode: http.StatusOK, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{}, ContentLength: -1,
	}
	return req
}

func stubRequests(n int) []*http.Request {
	reqs := make([]*http.Request, n)
	for i := range reqs {
		reqs[i] = stubRequest("http://stub.test/")
	}
	return reqs
}

// A shortBody has a few bytes and then its end, for any number of readers. A type
// without a field would be taken for an empty body.
type shortBody struct{ bytes int }

func (b *shortBody) Read(p []byte) (int, error) { return min(len(p), b.bytes), io.EOF }
func (*shortBody) Close() error                 { return nil }

var short = &shortBody{64}

// stubFactory builds transports like base. It is not asked for one while all
// is well.
func stubFactory(base stub) respawn.Factory {
	return func(context.Context) (http.RoundTripper, error) { return &base, nil }
}

// A stubCase is one setting of the stub workload.
type stubCase struct {
	name       string
	body       io.ReadCloser
	goroutines int
}

func (c stubCase) String() string { return "stub, " + c.name + ", " + atOnce(c.goroutines) }

// atOnce says how many goroutines send.
func atOnce(goroutines int) string {
	if goroutines == 1 {
		return "serial"
	}
	return fmt.Sprintf("%d goroutines", goroutines)
}

type stubResult struct {
	stubCase
	samples map[string][]sample // by row
}

func stubCases() []stubCase {
	var cases []stubCase
	for _, body := range []struct {
		name string
		io.ReadCloser
	}{{"NoBody", http.NoBody}, {"body", short}} {
		for _, n := range []int{1, 2, 8, 32} {
			cases = append(cases, stubCase{body.name, body.ReadCloser, n})
		}
	}
	return cases
}

// runStub measures what every peer adds to a transport that costs nothing.
func runStub(rnd *rand.Rand, e effort, peers []peer) ([]stubResult, error) {
	var results []stubResult
	for _, c := range stubCases() {
		var contenders []contender
		for _, p := range withAA(peers) {
			base := stub{c.body}
			rt := p.wrap(base, stubFactory(base))
			defer closeTransport(rt)
			contender, err := c.contender(e.slice, p.name, rt)
			if err != nil {
				return nil, err
			}
			contenders = append(contenders, contender)
		}
		samples, err := interleave(rnd, e.rounds, contenders)
		if err != nil {
			return nil, err
		}
		results = append(results, stubResult{c, samples})
	}
	return results, nil
}

// withAA adds bare a second time: how far the two are apart is the noise.
func withAA(peers []peer) []peer {
	aa := peerNamed(peers, nameBare)
	aa.name = nameAA
	return append([]peer{peers[0], aa}, peers[1:]...)
}

func (c stubCase) contender(slice time.Duration, name string, rt http.RoundTripper) (contender, error) {
	return drives(slice, name, rt, stubRequests(c.goroutines))
}

// drives is a contender who sends as many of these requests as fill the slice.
func drives(slice time.Duration, name string, rt http.RoundTripper, reqs []*http.Request) (contender, error) {
	ops, err := fit(slice, len(reqs), func(ops int) error { return drive(rt, reqs, ops) })
	if err != nil {
		return contender{}, err
	}
	return contender{name, func() (sample, error) {
		return take(driven(ops, len(reqs)), func() error { return drive(rt, reqs, ops) })
	}}, nil
}

// fit finds how many requests fill the slice, warming up on the way. The
// fastest of three tries counts: what else the machine does makes one slow.
func fit(slice time.Duration, goroutines int, do func(ops int) error) (int, error) {
	for ops := goroutines; ; ops *= 2 {
		took := time.Duration(math.MaxInt64)
		for range 3 {
			start := time.Now()
			if err := do(ops); err != nil {
				return 0, err
			}
			took = min(took, time.Since(start))
			if took < slice/8 {
				break
			}
		}
		if took >= slice/8 {
			return max(int(float64(ops)*float64(slice)/float64(took)), goroutines), nil
		}
	}
}
