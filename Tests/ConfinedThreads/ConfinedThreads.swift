// SPDX-License-Identifier: Apache-2.0

import LayerActions
import Linux
import Sandbox

/// A process like a VM. Its vCPU threads allocate and free memory under their filters. It is a separate
/// program because malloc in a test process already has arenas.
@main
enum ConfinedThreads {
  private final class Barrier: Sendable {
    let ready: EventFD
    let go: EventFD
    init() throws(KernelError) {
      ready = try EventFD()
      go = try EventFD()
    }
  }

  /// Runs the threads. The arguments are the number of threads, and `unsettled` to skip the preparation of
  /// malloc. The exit status is 7 on success. With the arguments `layer`, a layer and an action, performs the
  /// action in that layer.
  static func main() throws {
    let arguments = CommandLine.arguments
    if arguments.count == 4, arguments[1] == "layer" {
      endProcess(LayerDenial.perform(arguments[2], arguments[3]))
    }
    let count = Int(CommandLine.arguments.dropFirst().first ?? "") ?? 1
    if !CommandLine.arguments.contains("unsettled") { try ProcessSandbox.prepare() }
    let barrier = try Barrier()
    let sandbox = try ThreadSandbox(.vcpu, rules: Rule.core)
    var threads: [Linux.Thread] = []
    for index in 0..<count {
      threads.append(
        try Linux.Thread(name: "vcpu\(index)") {
          do throws(KernelError) {
            try sandbox.enter()
            barrier.ready.signal()
            try barrier.go.wait()
          } catch { endProcess(1) }
          for round in 0..<20 { work(round) }
        })
    }
    var waiting = UInt64(count)
    while waiting > 0 {
      try barrier.ready.wait()
      waiting -= try barrier.ready.take()
    }
    barrier.go.signal()
    for thread in threads { thread.join() }
    endProcess(7)
  }

  /// Allocates blocks smaller than malloc's mmap threshold, enough for a heap to grow and shrink again.
  private static func work(_ round: Int) {
    let blocks = (1...64).map { [UInt8](repeating: 1, count: 1000 * ($0 + round)) }
    precondition(blocks.count == 64)
  }
}
