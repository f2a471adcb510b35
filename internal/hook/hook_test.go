package hook

import (
	"runtime"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
)

func TestInOrderOneAtATimeWhateverEachDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var q Queue
		var got []int
		for i := range 10 {
			q.Add(func() {
				got = append(got, i)
				switch i {
				case 3:
					panic("a user's function")
				case 5:
					runtime.Goexit()
				}
			})
		}
		synctest.Wait()
		assert.Equal(t, []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, got)
		q.Add(func() { got = nil })
		synctest.Wait()
		assert.Nil(t, got, "it goes on after it was empty")
	})
}

func TestAFunctionThatHangsHoldsABoundedRow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var q Queue
		release := make(chan struct{})
		q.Add(func() { <-release })
		synctest.Wait()
		var got []int
		for i := range 3 * limit {
			q.Add(func() { got = append(got, i) })
		}
		close(release)
		synctest.Wait()
		assert.Len(t, got, limit)
		assert.Equal(t, 2*limit, got[0], "the oldest have made room")
		assert.Equal(t, 3*limit-1, got[limit-1])
	})
}
