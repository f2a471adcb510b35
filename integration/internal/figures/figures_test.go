package figures

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var all = []Figures{
	{
		Scenario: "tunnel closed", BareSent: 30, BareFailed: 30, BareWindow: 301 * time.Millisecond,
		Sent: 254, Recovery: 4321 * time.Microsecond, Built: 2, Promoted: 1,
	},
	{
		Scenario: "black hole", BareSent: 12, BareFailed: 12, BareWindow: 3004 * time.Millisecond,
		Sent: 4205, Failed: 23, Late: 23, Cut: 1, FailedAfter: 22, Recovery: 1256 * time.Millisecond, Built: 2, Promoted: 1,
		Conns: 1, Goroutines: 2, Files: 3,
	},
	{Scenario: "restarted", BareSent: 1395, BareFailed: 2, Sent: 588, Recovery: 13 * time.Millisecond, Built: 1},
	{Scenario: "moved", BareSent: 7, BareNote: "7 of 7 at the old address", Sent: 9, Recovery: time.Second, Built: 4},
	{Scenario: "a thousand in flight", Sent: 1000, Failed: 195, Built: 2},
	{Scenario: "soak, 20s", Sent: 5, Soak: "5 requests"},
}

func TestTable(t *testing.T) {
	assert.Equal(t, strings.TrimPrefix(`
| scenario | bare: failed of sent | respawn: failed of sent | failed once curable | recovered in | transports | left over |
| --- | ---: | ---: | ---: | ---: | ---: | ---: |
| tunnel closed | all of 30, in 301 ms | **0** of 254 | 0 | 4.3 ms | 2 | 0 |
| black hole | all of 12, in 3.0 s | **24** of 4205 | 22 | 1.3 s | 2 | 6 |
| restarted | 2 of 1395 | **0** of 588 | 0 | 13 ms | 1 | 0 |
| moved | 7 of 7 at the old address | **0** of 9 | 0 | 1.0 s | 4 | 0 |

soak, 20s: 5 requests.
`, "\n"), Table(all))
}

func TestAppendAndRead(t *testing.T) {
	name := filepath.Join(t.TempDir(), "figures.json")
	t.Setenv(Env, "")
	require.NoError(t, all[0].Append(), "nobody wants them")
	t.Setenv(Env, name)
	for _, f := range all {
		require.NoError(t, f.Append())
	}
	file, err := os.Open(name)
	require.NoError(t, err)
	defer file.Close()
	got, err := Read(file)
	require.NoError(t, err)
	assert.Equal(t, all, got)

	_, err = Read(strings.NewReader("{}\nnonsense\n"))
	assert.ErrorContains(t, err, "line 2")
}
