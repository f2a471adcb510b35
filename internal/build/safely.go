package build

// Safely calls a function of the user's and returns when that ends, however it ends: a
// panic goes no further, and a Goexit does not end the caller's goroutine.
func Safely(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() { _ = recover() }()
		f()
	}()
	<-done
}
