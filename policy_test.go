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
	const secret = "hunter2"
	assert.Equal(t, "factory_timeout", evidence.ErrorType(errFactoryTimeout))
	assert.Equal(t, "factory_panic", evidence.ErrorType(&panicError{value: secret, stack: secret}))
	assert.Equal(t, "closed", evidence.ErrorType(ErrClosed))
}
