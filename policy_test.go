package respawn

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/respawnhttp/respawn/internal/evidence"
)

func TestVerdictString(t *testing.T) {
	assert.Equal(t, "neutral failure stall ended unknown", fmt.Sprint(Neutral, " ", Failure, " ", Stall, " ", Ended, " ", Verdict(9)))
}

// What has a word of its own is known by that, never by its text.
func TestOwnErrorsHaveWords(t *testing.T) {
	assert.Equal(t, "closed", evidence.ErrorType(ErrClosed))
}
