package statemachine

//go:generate go run ./gen ../lua/include/states.lua
