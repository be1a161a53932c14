// SPDX-License-Identifier: Apache-2.0

import Glibc
import Linux
import Testing

@testable import Sandbox

/// The choice of layers and their states.
@Suite struct ProcessSandboxTests {
  @Test("the layers have the order in which a process can enter them")
  func order() {
    // Landlock forbids mounts, and needs no_new_privs. The namespaces give the right to empty the bounding set.
    #expect(
      Layer.allCases == [.namespaces, .capabilities, .noNewPrivileges, .landlock, .seccomp, .guestMemory])
    #expect(LayerChoice().layers == Layer.allCases && LayerChoice.none.layers == [.guestMemory])
    #expect(LayerChoice(leftOut: [.noNewPrivileges]).lacksNewPrivileges == .landlock)
    #expect(LayerChoice(leftOut: [.noNewPrivileges, .landlock]).lacksNewPrivileges == .seccomp)
    #expect(LayerChoice.none.lacksNewPrivileges == nil && LayerChoice().lacksNewPrivileges == nil)
  }

  @Test("a state has the effect and the gap, or the cause")
  func description() {
    #expect(LayerState(.landlock).description == "landlock: \(Layer.landlock.text)")
    #expect(LayerState(.landlock, gap: "ABI 2").description == "landlock: \(Layer.landlock.text) (ABI 2)")
    #expect(LayerState(.landlock, obstacle: "left out").description == "landlock: off: left out")
  }

  @Test("a layer that is left out has no effect")
  func leftOut() async {
    await #expect(processExitsWith: .exitCode(7)) {
      let states = try ProcessSandbox.enter(.none)
      // SAFETY: the path is a literal.
      guard unsafe open("/proc/version", O_RDONLY) >= 0 else { _exit(1) }
      _exit(
        states.filter { $0.obstacle == nil }.map(\.layer) == [.guestMemory]
          && states.dropLast().allSatisfy { $0.obstacle == "left out" } ? 7 : 2)
    }
  }

  /// The kernel refuses a user namespace to a process with a second thread.
  private static func withSecondThread(_ body: () throws -> Void) throws {
    let end = try EventFDOwner()
    let thread = try Linux.Thread(name: "second") { try? end.event.wait() }  // the process then ends
    try body()
    end.event.signal()
    thread.join()
  }

  private final class EventFDOwner: Sendable {
    let event: EventFD
    init() throws { event = try EventFD() }
  }

  @Test("a layer that the kernel refuses is off with the cause, and the other layers are active")
  func refused() async {
    await #expect(processExitsWith: .exitCode(7)) {
      try Self.withSecondThread {
        let states = try ProcessSandbox.enter(LayerChoice(leftOut: [.capabilities]))
        let cause = states.first { $0.layer == .namespaces }?.obstacle
        _exit(
          cause == "unshare: Invalid argument"
            && states.first { $0.layer == .noNewPrivileges } == LayerState(.noNewPrivileges) ? 7 : 1)
      }
    }
  }

  @Test("a required layer that the kernel refuses is an error with the layer")
  func required() async {
    await #expect(processExitsWith: .exitCode(7)) {
      try Self.withSecondThread {
        do throws(SandboxError) { _ = try ProcessSandbox.enter(LayerChoice(required: [.namespaces])) } catch {
          _exit(error.description == "layer namespaces: unshare: Invalid argument" ? 7 : 2)
        }
        _exit(1)
      }
    }
  }
}
