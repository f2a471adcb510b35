package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// An upstream is an OpenAI-compatible server for want of a real one: TLS with
// a certificate of its own, HTTP/2, and answers that stream word by word.
type upstream struct {
	roots  *x509.CertPool // what its clients must trust
	pace   time.Duration  // between two words
	server *http.Server
	serves sync.WaitGroup
}

func newUpstream(pace time.Duration) (*upstream, error) {
	certificate, roots, err := selfMadeCertificate()
	if err != nil {
		return nil, fmt.Errorf("cannot make a certificate for the embedded upstream: %w", err)
	}
	u := &upstream{roots: roots, pace: pace}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/chat/completions", u.complete)
	mux.HandleFunc("GET /v1/models", u.models)
	u.server = &http.Server{
		Handler:           mux,
		TLSConfig:         &tls.Config{Certificates: []tls.Certificate{certificate}},
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          log.New(io.Discard, "", 0), // handshakes that faults cut short
	}
	return u, nil
}

// open serves on one more door.
func (u *upstream) open(ctx context.Context) (*door, error) {
	d, err := openDoor(ctx)
	if err != nil {
		return nil, err
	}
	u.serves.Go(func() {
		_ = u.server.ServeTLS(d, "", "") // ends when close is called; its error says just that
	})
	return d, nil
}

// close ends all connections and doors at once.
func (u *upstream) close() {
	_ = u.server.Close()
	u.serves.Wait()
}

// chatRequest is what the upstream heeds of a completion request.
type chatRequest struct {
	Model     string `json:"model"`
	Stream    bool   `json:"stream"`
	MaxTokens int    `json:"max_tokens"`
}

type chatMessage struct {
	Role    string `json:"role,omitempty"`
	Content string `json:"content"`
}

type chatChoice struct {
	Index        int          `json:"index"`
	Delta        *chatMessage `json:"delta,omitempty"`   // of a chunk
	Message      *chatMessage `json:"message,omitempty"` // of a whole answer
	FinishReason *string      `json:"finish_reason"`
}

type chatResponse struct {
	ID      string       `json:"id"`
	Object  string       `json:"object"`
	Created int64        `json:"created"`
	Model   string       `json:"model"`
	Choices []chatChoice `json:"choices"`
}

const (
	reply     = "A fresh transport has to earn its place. "
	maxTokens = 4096
)

// words returns the first n words of an endless answer.
func words(n int) []string {
	all := strings.SplitAfter(strings.TrimSuffix(reply, " "), " ")
	if n <= 0 {
		n = len(all)
	}
	answer := make([]string, min(n, maxTokens))
	for i := range answer {
		answer[i] = all[i%len(all)]
	}
	return answer
}

func (u *upstream) complete(w http.ResponseWriter, req *http.Request) {
	var ask chatRequest
	if err := json.NewDecoder(http.MaxBytesReader(w, req.Body, 1<<20)).Decode(&ask); err != nil {
		writeError(w, http.StatusBadRequest, "invalid_request_error", "the body is no chat completion request: "+err.Error())
		return
	}
	answer := chatResponse{ID: "chatcmpl-embedded", Created: time.Now().Unix(), Model: ask.Model}
	if ask.Stream {
		u.stream(w, req, answer, words(ask.MaxTokens))
		return
	}
	answer.Object = "chat.completion"
	answer.Choices = []chatChoice{{
		Message:      &chatMessage{Role: "assistant", Content: strings.Join(words(ask.MaxTokens), "")},
		FinishReason: new("stop"),
	}}
	writeJSON(w, http.StatusOK, answer)
}

// stream sends one server-sent event a word.
func (u *upstream) stream(w http.ResponseWriter, req *http.Request, chunk chatResponse, words []string) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	chunk.Object = "chat.completion.chunk"
	send := func(data []byte) bool {
		if _, err := fmt.Fprintf(w, "data: %s\n\n", data); err != nil {
			return false
		}
		return http.NewResponseController(w).Flush() == nil
	}
	for i, word := range words {
		chunk.Choices = []chatChoice{{Delta: &chatMessage{Content: word}}}
		if i == 0 {
			chunk.Choices[0].Delta.Role = "assistant"
		}
		if i == len(words)-1 {
			chunk.Choices[0].FinishReason = new("stop")
		}
		data, err := json.Marshal(chunk)
		if err != nil || !send(data) {
			return // the client has left
		}
		select {
		case <-time.After(u.pace):
		case <-req.Context().Done():
			return
		}
	}
	send([]byte("[DONE]"))
}

func (u *upstream) models(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, map[string]any{
		"object": "list",
		"data":   []map[string]string{{"id": "embedded", "object": "model", "owned_by": "gateway"}},
	})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	text, err := json.Marshal(v)
	if err != nil {
		panic("unreachable: of strings and numbers alone: " + err.Error())
	}
	if w.Header().Get("Content-Type") == "" {
		w.Header().Set("Content-Type", "application/json")
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(text)+1)) // so that the client knows the end when it has it
	w.WriteHeader(status)
	_, _ = w.Write(append(text, '\n')) // the client left: nobody to tell
}

// writeError answers as OpenAI's API does, so that its SDKs understand.
func writeError(w http.ResponseWriter, status int, kind, message string) {
	writeJSON(w, status, map[string]any{"error": map[string]string{"type": kind, "message": message}})
}
