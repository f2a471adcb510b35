package figures

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestRewriteChangesWhatIsBetweenTheMarks(t *testing.T) {
	const before = "a\n<!-- x:begin -->\nold\n<!-- x:end -->\nb <!-- y:begin -->\nkept<!-- y:end -->"
	page := filepath.Join(t.TempDir(), "page.md")
	require.NoError(t, os.WriteFile(page, []byte(before), 0o600))
	read := func() string {
		text, err := os.ReadFile(page)
		require.NoError(t, err)
		return string(text)
	}
	for range 2 {
		require.NoError(t, Rewrite(page, "x", func() (string, error) { return "new\n", nil }))
		assert.Equal(t, "a\n<!-- x:begin -->\nnew\n<!-- x:end -->\nb <!-- y:begin -->\nkept<!-- y:end -->", read())
	}

	failed := errors.New("no figures")
	assert.ErrorIs(t, Rewrite(page, "x", func() (string, error) { return "half", failed }), failed)
	assert.NotContains(t, read(), "half")
}

func TestRewriteLooksForTheMarksBeforeItMeasures(t *testing.T) {
	page := filepath.Join(t.TempDir(), "page.md")
	for _, text := range []string{"", "<!-- x:begin -->\n", "<!-- x:end -->", "<!-- x:end --><!-- x:begin -->\n"} {
		require.NoError(t, os.WriteFile(page, []byte(text), 0o600))
		assert.Error(t, Rewrite(page, "x", func() (string, error) { assert.Fail(t, "measured"); return "", nil }), "%q", text)
	}
}
