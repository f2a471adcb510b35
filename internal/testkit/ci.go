package testkit

import "os"

// InCI returns whole if CI=true, and part otherwise. Tests that repeat something many times do all of
// it in CI, where there is time, and a part of it for a developer who waits.
func InCI[T any](whole, part T) T {
	if os.Getenv("CI") == "true" {
		return whole
	}
	return part
}
