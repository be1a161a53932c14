// SPDX-License-Identifier: Apache-2.0

import Dispatch
import Foundation
import Subprocess
import Synchronization
import SystemPackage

/// A program that the runner has started. Any thread may query its end or wait for it.
///
/// Foundation's Process cannot do this. It mistakes the end of file on an inherited socket for the end of the
/// child, and Sluice closes every descriptor that it inherits. Foundation's only waiting thread then blocks
/// in waitpid() for Sluice, and does not detect the end of any other child.
final class RunningProgram: Sendable {
  private enum State {
    case starting
    case running(id: Int32)
    case ended(id: Int32, status: Int32)
    case failed(any Error)
  }

  /// State shared by the object and the task that waits for the process.
  private final class Life: Sendable {
    /// Never held together with another lock.
    let state = Mutex(State.starting)
    let start = DispatchSemaphore(value: 0)
    let end = DispatchGroup()
  }

  /// The process ID.
  let id: Int32
  private let life: Life

  /// Starts a program found on the PATH. Its process group is new, so that Control-C reaches only the runner.
  ///
  /// The program inherits its three standard streams and no other descriptor. The streams are closed here.
  ///
  /// - Parameters:
  ///   - arguments: The name of the program, and its arguments.
  ///   - directory: Its working directory. The default is the directory of the runner.
  ///   - input: Its standard input. The default is /dev/null.
  ///   - output: Its standard output.
  ///   - errors: Its standard error.
  /// - Throws: `LabError` if the program cannot be started.
  init(
    _ arguments: [String], in directory: URL? = nil, input: FileDescriptor? = nil, output: FileDescriptor,
    errors: FileDescriptor
  ) throws {
    let life = Life()
    var options = PlatformOptions()
    options.processGroupID = 0
    // 'env' looks up a path or a name and replaces itself, so that the process ID stays the same.
    let configuration = Configuration(
      executable: .path("/usr/bin/env"), arguments: Arguments(arguments),
      workingDirectory: directory.map { FilePath($0.path) }, platformOptions: options)
    let input = try input ?? .open(FilePath("/dev/null"), .readOnly)
    life.end.enter()
    Task.detached {
      do {
        let result = try await Subprocess.run(
          configuration, input: .fileDescriptor(input, closeAfterSpawningProcess: true),
          output: .fileDescriptor(output, closeAfterSpawningProcess: true),
          error: .fileDescriptor(errors, closeAfterSpawningProcess: true)
        ) { execution in
          life.state.withLock { $0 = .running(id: execution.processIdentifier.value) }
          life.start.signal()
        }
        let id = result.processIdentifier.value
        let status = result.terminationStatus.shellStatus
        life.state.withLock { $0 = .ended(id: id, status: status) }
      } catch {
        life.state.withLock { $0 = .failed(error) }
        life.start.signal()
      }
      life.end.leave()
    }
    life.start.wait()
    switch life.state.withLock({ $0 }) {
    case .running(let id), .ended(let id, _): self.id = id
    case .failed(let error): throw LabError("'\(arguments[0])' cannot be started: \(error)")
    case .starting: throw LabError("'\(arguments[0])' cannot be started")
    }
    self.life = life
  }

  var isRunning: Bool {
    life.state.withLock { state in
      if case .running = state { true } else { false }
    }
  }

  /// Waits for the end.
  func waitUntilEnd() { life.end.wait() }

  /// Waits for the end, and returns the exit status as a shell reports it.
  ///
  /// - Throws: The error of the library if it could not wait for the process.
  func wait() throws -> Int32 {
    waitUntilEnd()
    switch life.state.withLock({ $0 }) {
    case .ended(_, let status): return status
    case .failed(let error): throw error
    case .starting, .running: throw LabError("process \(id) has no status")
    }
  }

  /// Sends a signal if the program still runs.
  func signal(_ number: Int32) {
    life.state.withLock { state in
      if case .running(let id) = state { _ = kill(id, number) }
    }
  }
}

extension TerminationStatus {
  /// The exit status as a shell reports it: 128 plus the signal if a signal ended the process.
  fileprivate var shellStatus: Int32 {
    switch self {
    case .exited(let code): code
    case .signaled(let signal): 128 + signal
    }
  }
}
