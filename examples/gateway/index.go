package main

import (
	"fmt"
	"html/template"
	"io"
	"net/http"
	"strings"
)

// A route is something that a port serves.
type route struct {
	pattern string // as http.ServeMux has it
	what    string // for the index
	handler http.Handler
}

// mount serves the routes, and at / an index of them.
func mount(title string, routes ...route) http.Handler {
	mux := http.NewServeMux()
	var entries []entry
	for _, r := range routes {
		mux.Handle(r.pattern, r.handler)
		entries = append(entries, newEntry(r.pattern, r.what))
	}
	mux.Handle("GET /{$}", index(title, "", entries))
	return mux
}

// An entry is a line of an index.
type entry struct {
	Method, Path, What string
}

func newEntry(pattern, what string) entry {
	method, path, ok := strings.Cut(pattern, " ")
	if !ok {
		method, path = http.MethodGet, pattern
	}
	return entry{method, strings.TrimSuffix(path, "{$}"), what}
}

// Link is where a browser can go.
func (e entry) Link() string {
	if e.Method != http.MethodGet || strings.HasSuffix(e.Path, "/v1/") {
		return ""
	}
	return e.Path
}

var indexPage = template.Must(template.New("index").Parse(`<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{.Title}}</title>
<style>
:root { color-scheme: light dark; font-family: system-ui, sans-serif }
body { max-width: 50rem; margin: 2rem auto; padding: 0 1rem }
dt { margin-top: 1rem; font-family: ui-monospace, monospace }
</style>
</head>
<body>
<h1>{{.Title}}</h1>
<dl>
{{range .Entries}}<dt>{{if .Link}}<a href="{{.Link}}">{{.Path}}</a>{{else}}{{.Method}} {{.Path}}{{end}}</dt><dd>{{.What}}</dd>
{{end}}</dl>
{{with .Note}}<p>{{.}}</p>{{end}}
</body>
</html>
`))

// index lists entries, as a page for browsers and as text for all others.
func index(title, note string, entries []entry) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if strings.Contains(req.Header.Get("Accept"), "text/html") {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			_ = indexPage.Execute(w, struct {
				Title, Note string
				Entries     []entry
			}{title, note, entries}) // the client has left
			return
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		writeIndex(w, title, note, entries)
	})
}

func writeIndex(w io.Writer, title, note string, entries []entry) {
	width := 0
	for _, e := range entries {
		width = max(width, len(e.Path))
	}
	fmt.Fprintf(w, "%s\n\n", title)
	for _, e := range entries {
		fmt.Fprintf(w, "%-4s %-*s  %s\n", e.Method, width, e.Path, e.What)
	}
	if note != "" {
		fmt.Fprintf(w, "\n%s\n", note)
	}
}
