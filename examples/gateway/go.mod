module github.com/respawnhttp/respawn/examples/gateway

go 1.26

require github.com/respawnhttp/respawn v0.0.0

replace github.com/respawnhttp/respawn => ../..
