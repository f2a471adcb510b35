package names

import (
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

type client struct{ _ [64]byte }

func TestANameThatIsTakenTwiceIsToldOnce(t *testing.T) {
	var r Registry
	clients := make([]client, 4)
	first, shared := Claim(&r, &clients[0], "llm")
	assert.False(t, shared)
	_, shared = Claim(&r, &clients[1], "search")
	assert.False(t, shared, "another name")
	second, shared := Claim(&r, &clients[2], "llm")
	assert.True(t, shared)
	_, shared = Claim(&r, &clients[3], "llm")
	assert.False(t, shared, "it was told")
	first()
	first()
	second()
	assert.Equal(t, 1, r.claims["llm"].open, "a claim is released once")
}

func TestANameThatWasReleasedIsFree(t *testing.T) {
	var r Registry
	var one, next client
	release, _ := Claim(&r, &one, "llm")
	release()
	assert.Empty(t, r.claims)
	release, shared := Claim(&r, &next, "llm")
	assert.False(t, shared)
	release()
	assert.Empty(t, r.claims)
}

func TestTheNameOfAClientThatWasDroppedIsFree(t *testing.T) {
	var r Registry
	_, shared := Claim(&r, new(client), "llm")
	assert.False(t, shared)
	assert.Eventually(t, func() bool {
		runtime.GC()
		r.mu.Lock()
		defer r.mu.Unlock()
		return len(r.claims) == 0
	}, 20*time.Second, 10*time.Millisecond)
}
