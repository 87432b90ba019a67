//go:build race

package engine

// raceDetector tells whether tests run ten times as slowly.
const raceDetector = true
