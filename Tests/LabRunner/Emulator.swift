// SPDX-License-Identifier: Apache-2.0

import Dispatch
import Foundation
import Synchronization

/// A running QEMU and the lines that it prints.
final class Emulator {
  enum Reading: Equatable {
    case line(String)
    case ended
    case late
  }

  private let process: Process
  private let lines: LineQueue

  /// Starts it; it does not outlive the runner.
  init(_ arguments: [String]) throws {
    process = Command.make(["setpriv", "--pdeathsig", "KILL"] + arguments)
    let pipe = Pipe()
    process.standardOutput = pipe
    process.standardInput = FileHandle.nullDevice
    lines = LineQueue()
    try process.run()
    let queue = lines
    let input = pipe.fileHandleForReading.fileDescriptor
    Thread.detachNewThread { [pipe] in
      queue.fill(from: input)
      _ = pipe  // keeps the descriptor open
    }
  }

  /// The next line, or what happened instead of it.
  func next(within time: Duration) -> Reading { lines.next(within: time) }

  func stop() {
    if process.isRunning { process.terminate() }
    process.waitUntilExit()
  }
}

/// Lines that one thread reads from a descriptor and another one takes.
final class LineQueue: Sendable {
  private struct State {
    var lines: [String] = []
    var hasEnded = false
  }

  /// Taken by the reading thread and by `next`, never together with another lock.
  private let state = Mutex(State())
  private let news = DispatchSemaphore(value: 0)

  func fill(from descriptor: Int32) {
    let handle = FileHandle(fileDescriptor: descriptor, closeOnDealloc: false)
    var rest: [UInt8] = []
    while true {
      let data = handle.availableData
      if data.isEmpty { break }
      rest += data
      while let end = rest.firstIndex(of: 10) {
        let line = String(decoding: rest[..<end], as: UTF8.self)
        rest.removeSubrange(...end)
        state.withLock { $0.lines.append(line) }
        news.signal()
      }
    }
    state.withLock { $0.hasEnded = true }
    news.signal()
  }

  func next(within time: Duration) -> Emulator.Reading {
    let deadline = DispatchTime.now() + .seconds(Int(time.components.seconds))
    while true {
      let reading: Emulator.Reading? = state.withLock { state in
        if !state.lines.isEmpty { return .line(state.lines.removeFirst()) }
        return state.hasEnded ? .ended : nil
      }
      if let reading { return reading }
      if news.wait(timeout: deadline) == .timedOut { return .late }
    }
  }
}
