// Package fiberv2 puts a recovering transport under fiber v2. It is apart from package
// servers since fiber v3, which is there, wants another fasthttp than fiber v2's, and much
// of what matters here is fasthttp's. It holds tests only. The example is the recipe of
// docs/clients.md.
package fiberv2
