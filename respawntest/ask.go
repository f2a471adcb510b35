package respawntest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"reflect"
	"sync"
	"time"
)

// answers holds a transport's answer to each of the urls.
type answers []answer

type answer struct {
	protocol int      // 1 or 2
	conn     net.Conn // that it came on; nil if the transport does not say
}

// ask sends a GET to each of the urls.
func ask(label string, rt http.RoundTripper, urls []string) (answers, error) {
	var all answers
	for _, url := range urls {
		a, err := get(label, rt, url)
		if err != nil {
			return nil, fmt.Errorf("GET %s: %w", url, err)
		}
		all = append(all, a)
	}
	return all, nil
}

// get returns when the request is over, or should have been for a while.
func get(label string, rt http.RoundTripper, url string) (answer, error) {
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	type result struct {
		answer
		err error
	}
	over := make(chan result, 1)
	go labeled(ctx, label, func(ctx context.Context) {
		r := result{err: errors.New("RoundTrip ended its goroutine")}
		defer func() {
			if v := recover(); v != nil {
				r.err = fmt.Errorf("RoundTrip or the answer's body panicked: %v", v)
			}
			over <- r
		}()
		r.answer, r.err = exchange(ctx, rt, url)
	})
	select {
	case r := <-over:
		return r.answer, r.err
	case <-time.After(2 * grace):
		return answer{}, errors.New("RoundTrip has not returned although the request's context has ended")
	}
}

func exchange(ctx context.Context, rt http.RoundTripper, url string) (answer, error) {
	var mu sync.Mutex
	var conn net.Conn
	trace := &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
		mu.Lock()
		defer mu.Unlock()
		conn = info.Conn // the last one: a dialer that makes requests of its own had theirs before
	}}
	req, err := http.NewRequestWithContext(httptrace.WithClientTrace(ctx, trace), http.MethodGet, url, nil)
	if err != nil {
		return answer{}, err
	}
	resp, err := rt.RoundTrip(req)
	switch {
	case err != nil:
		return answer{}, err
	case resp == nil:
		return answer{}, errors.New("RoundTrip returned neither an answer nor an error")
	case resp.Body != nil: // http.Client takes none for an empty one
		_, err = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
	}
	mu.Lock()
	defer mu.Unlock()
	return answer{resp.ProtoMajor, conn}, err
}

// share reports whether one connection has served both.
func share(a, b answers) bool {
	for _, x := range a {
		for _, y := range b {
			if x.conn != nil && reflect.ValueOf(x.conn).Comparable() && x.conn == y.conn {
				return true
			}
		}
	}
	return false
}
