package build

import (
	"net/http"
	"reflect"
)

// IsNil reports whether v is nil. It also knows the nil pointer in an interface.
func IsNil(v any) bool {
	if v == nil {
		return true
	}
	switch v := reflect.ValueOf(v); v.Kind() {
	case reflect.Pointer, reflect.Func, reflect.Map, reflect.Chan:
		return v.IsNil()
	}
	return false
}

// SameInstance reports whether closing one would close the other. Only
// pointers have an identity; those to a type without fields share one address
// and nothing else.
func SameInstance(a, b http.RoundTripper) bool {
	if a == nil || b == nil {
		return false
	}
	t := reflect.TypeOf(a)
	return t.Kind() == reflect.Pointer && t.Elem().Size() > 0 && t == reflect.TypeOf(b) && a == b
}
