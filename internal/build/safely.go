package build

// Safely calls what is the user's, and returns when that is over, however it ends: a
// panic goes no further, and a Goexit ends another goroutine than the caller's.
func Safely(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() { _ = recover() }()
		f()
	}()
	<-done
}
