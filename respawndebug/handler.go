// Package respawndebug serves a page that shows what respawn is doing, much as
// net/http/pprof does for a program: the state of each client, its past recreations on
// a timeline, the authorities under suspicion, and the requests in flight.
//
//	mux.Handle("/debug/respawn", respawndebug.DebugHandler(rt))
//
// The page shows only the host name of a request: no path, query, header or
// credential. Still, serve it where you would serve pprof, not to the public.
package respawndebug

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/respawnhttp/respawn"
)

// defaultRefresh is how often the page loads itself again, in seconds.
const defaultRefresh = 5

// A document is the answer to format=json, and the data that the page is made of.
type document struct {
	Version string    `json:"version"` // of respawn
	Host    string    `json:"host"`    // that it runs on; "" if that is not known
	Time    time.Time `json:"time"`    // of the snapshot
	Clients []client  `json:"clients"`
}

// health is respawn.Health without its methods: if it were embedded with them, its
// MarshalJSON would marshal the whole client.
type health respawn.Health

type client struct {
	health
	AgeSeconds  float64                    `json:"age_seconds"` // of the generation in service
	Summary     string                     `json:"summary"`     // the state in words
	Recreations []respawn.RecreationRecord `json:"recreations"` // the oldest first
}

func snapshot(rts []*respawn.RecoveringRoundTripper) document {
	d := document{Version: respawn.Version, Clients: []client{}}
	d.Host, _ = os.Hostname() // the pod's name, in Kubernetes
	for _, rt := range rts {
		h := rt.Health()
		d.Clients = append(d.Clients, client{health(h), h.Age.Seconds(), inWords(h), rt.Recreations()})
	}
	d.Time = time.Now() // after all snapshots
	return d
}

// A Handler serves the page.
type Handler struct {
	rts      []*respawn.RecoveringRoundTripper
	traceURL string // "" for none
}

// DebugHandler returns a handler that shows the clients on one HTML page, which needs
// no script and loads nothing from elsewhere. The page reloads itself every 5 seconds;
// refresh=N in the query sets the number of seconds, and refresh=0 stops it. With
// format=json the handler answers with the same data as JSON, and with format=text in
// words for a terminal or a ticket. It answers GET and HEAD from snapshots, so at once,
// whatever a recreation is doing, and is safe for concurrent use. DebugHandler panics
// if a client is nil.
func DebugHandler(rts ...*respawn.RecoveringRoundTripper) *Handler {
	for i, rt := range rts {
		if rt == nil {
			panic(fmt.Sprintf("respawndebug: DebugHandler: client %d is nil: pass what respawn.New returned", i+1))
		}
	}
	return &Handler{rts: rts}
}

// traceID is where the id of a trace goes in a trace URL.
const traceID = "{id}"

// WithTraceURL returns a handler whose page links each trace id to url, with {id}
// replaced by that id: "https://jaeger/trace/{id}". It panics if url is not http or
// https, or has no {id}.
func (h *Handler) WithTraceURL(url string) *Handler {
	if !strings.HasPrefix(url, "https://") && !strings.HasPrefix(url, "http://") || !strings.Contains(url, traceID) {
		panic(fmt.Sprintf("respawndebug: WithTraceURL(%q): use an http or https URL with %s where the trace's id goes", url, traceID))
	}
	return &Handler{rts: h.rts, traceURL: url}
}

// ServeHTTP implements [http.Handler].
func (h *Handler) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	header := w.Header()
	header.Set("Cache-Control", "no-store")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("Content-Security-Policy", policy)
	if req.Method != http.MethodGet && req.Method != http.MethodHead {
		header.Set("Allow", "GET, HEAD")
		http.Error(w, "use GET or HEAD", http.StatusMethodNotAllowed)
		return
	}
	query := req.URL.Query()
	refresh, err := parseRefresh(query)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	// The page is complete before its first byte is sent, so that nobody gets half of it.
	var out bytes.Buffer
	switch doc := snapshot(h.rts); query.Get("format") {
	case "", "html":
		header.Set("Content-Type", "text/html; charset=utf-8")
		err = page.Execute(&out, newView(doc, refresh, h.traceURL))
	case "json":
		header.Set("Content-Type", "application/json")
		encoder := json.NewEncoder(&out)
		encoder.SetIndent("", "  ")
		err = encoder.Encode(doc)
	case "text":
		header.Set("Content-Type", "text/plain; charset=utf-8")
		writeText(&out, doc, h.traceURL)
	default:
		http.Error(w, "format: use html, json or text", http.StatusBadRequest)
		return
	}
	if err != nil {
		http.Error(w, "the page could not be made: "+err.Error(), http.StatusInternalServerError)
		return
	}
	_, _ = out.WriteTo(w) // the client left: nobody to tell
}

func parseRefresh(query url.Values) (seconds int, err error) {
	if !query.Has("refresh") {
		return defaultRefresh, nil
	}
	seconds, err = strconv.Atoi(query.Get("refresh"))
	if err != nil || seconds < 0 || seconds > 3600 {
		return 0, errors.New("refresh: use whole seconds up to 3600, or 0 to stop")
	}
	return seconds, nil
}
