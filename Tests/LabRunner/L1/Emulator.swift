// SPDX-License-Identifier: Apache-2.0

import Dispatch
import Foundation
import Synchronization
import SystemPackage

/// A running QEMU and the lines that it prints.
final class Emulator {
  enum Reading: Equatable {
    case line(String)
    case ended
    case late
  }

  private let program: RunningProgram
  private let lines: LineQueue

  /// Starts QEMU. It ends with the runner.
  init(_ arguments: [String]) throws {
    let (readEnd, writeEnd) = try FileDescriptor.pipe()
    program = try RunningProgram(
      ["setpriv", "--pdeathsig", "KILL"] + arguments, output: writeEnd,
      errors: FileDescriptor.standardError.duplicate())
    lines = LineQueue(readEnd)
  }

  /// Returns the next line, or the reason for a missing line.
  func next(within time: Duration) -> Reading { lines.next(within: time) }

  func stop() {
    program.signal(SIGTERM)
    program.waitUntilEnd()
  }
}

/// A queue of lines. One thread reads them from a descriptor, and another thread takes them.
final class LineQueue: Sendable {
  private struct State {
    var lines: [String] = []
    var hasEnded = false
  }

  /// Held by the reading thread or by `next`, never together with another lock.
  private let state = Mutex(State())
  private let news = DispatchSemaphore(value: 0)

  /// Starts a thread that reads lines from a descriptor to its end, and then closes it.
  init(_ descriptor: FileDescriptor) {
    Thread.detachNewThread { [self] in
      fill(from: FileHandle(fileDescriptor: descriptor.rawValue, closeOnDealloc: true))
    }
  }

  private func fill(from handle: FileHandle) {
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
