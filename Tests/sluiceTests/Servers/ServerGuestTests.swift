// SPDX-License-Identifier: Apache-2.0

import Foundation
import Linux
import TestTools
import Testing

/// The small guests of the lab with devices in other processes, on this machine's KVM. Each VM has every layer of
/// confinement that the kernel has.
@Suite(.enabled(if: SmallGuests.obstacle == nil, "\(SmallGuests.reason)"), .serialized)
struct ServerGuestTests {
  /// A guest, a server and their options.
  struct Run: CustomTestStringConvertible, Sendable {
    let guest: String
    let server: ServerProgram
    var arguments: [String] = []
    var append = ""
    var cpus = 2
    var testDescription: String { "\(guest) \(server.rawValue) \(arguments.joined(separator: " "))" }
  }

  private static let runs = [
    Run(guest: "hello", server: .edu, append: "processors=4", cpus: 4),
    Run(guest: "exceptions", server: .edu),
    Run(guest: "edu-dma", server: .edu),
    Run(guest: "edu-dma", server: .edu, arguments: ["--messages"]),
    Run(guest: "edu-dma", server: .edu, arguments: ["--messages", "--twin-socket"]),
    Run(guest: "bar-lazy-open", server: .edu),
    Run(guest: "bars", server: .edu),
    Run(guest: "config", server: .edu),
    Run(guest: "expansion-rom", server: .edu),
    Run(guest: "fuzz", server: .edu, append: "events=1000", cpus: 4),
    Run(guest: "fuzz", server: .nvme, arguments: ["--mapped-doorbells"], append: "events=1000", cpus: 4),
    Run(guest: "instructions", server: .edu, arguments: ["--layout", "memory"], append: "part=0 memory=8"),
    Run(guest: "instructions", server: .edu, arguments: ["--layout", "memory"], append: "part=1 memory=8"),
    // An interpreting KVM can deliver a level-triggered interrupt again after its end.
    Run(guest: "intx", server: .edu, append: "repeats=1"),
    Run(guest: "intx", server: .edu, arguments: ["--layout", "messages"], append: "repeats=1"),
    Run(guest: "many-processors", server: .nvme, append: "processors=8 rounds=10", cpus: 8),
    Run(guest: "memory-enable", server: .edu, append: "toggles=100"),
    Run(guest: "memory-enable", server: .edu, arguments: ["--layout", "memory"], append: "toggles=100"),
    Run(guest: "config", server: .edu, arguments: ["--strict"]),
    Run(guest: "memory-enable", server: .edu, arguments: ["--strict"], append: "toggles=20"),
    Run(guest: "msix", server: .nvme, arguments: ["--strict"], append: "commands=50"),
    Run(guest: "msi", server: .edu),
    Run(guest: "pci-enumeration", server: .edu),
    Run(guest: "bar-lazy-open", server: .nvme, arguments: ["--mapped-doorbells"]),
    Run(guest: "config", server: .nvme),
    Run(guest: "msix", server: .nvme, append: "commands=300"),
    Run(guest: "reset", server: .nvme, arguments: ["--mapped-doorbells"]),
    Run(guest: "reset", server: .nvme, append: "resets=1"),
  ]

  static func start(_ program: ServerProgram, _ arguments: [String] = [], faults: String? = nil) throws
    -> ServerProcess
  {
    var all = arguments
    if program == .nvme {
      let image = FileManager.default.temporaryDirectory.appending(path: "image-\(UUID().uuidString)").path
      try Data(count: 8 << 20).write(to: URL(filePath: image))
      all += ["--image", image]
    }
    let server = try ServerProcess(program, all, faults: faults)
    _ = try server.connect()  // waits until the server listens
    return server
  }

  @Test("every check of a guest passes", arguments: runs)
  func checks(_ run: Run) throws {
    let server = try Self.start(run.server, run.arguments)
    let vm = try TinyVM(smallGuest: run.guest, append: run.append, socket: server.path, cpus: run.cpus)
    #expect(vm.failures() == [])
  }

  /// Returns the number of trapped accesses in the summary of a VM.
  private static func trapped(_ errors: String) -> Int? {
    errors.firstMatch(of: #/(\d+) trapped accesses/#).flatMap { Int($0.1) }
  }

  @Test("a mapped doorbell makes no exit", arguments: [false, true])
  func doorbells(_ isMapped: Bool) throws {
    let server = try Self.start(.nvme, isMapped ? ["--mapped-doorbells"] : [])
    let vm = try TinyVM(
      smallGuest: "msix", append: "commands=300", socket: server.path, ["--summary"])
    #expect(vm.failures() == [])
    let trapped = try #require(Self.trapped(vm.errors))
    // Each command rings the doorbells of both queues.
    #expect(isMapped ? trapped < 100 : trapped > 600, "\(trapped) trapped accesses")
  }

  @Test("'sluice open' connects and passes the sockets, in the order of the devices")
  func opened() throws {
    let (edu, drive) = (try Self.start(.edu), try Self.start(.nvme))
    let names = [edu, drive].map { "vfio-user:\($0.path)" }
    let vm = try TinyVM(
      kernel: SmallGuests.path("msix"), memory: "128M",
      ["--debug-exit", "--append", "commands=50"] + names.flatMap { ["--device", $0] },
      wrapper: [Program.file, "open"] + names + ["--"])
    #expect(vm.failures() == [])
    let needless = try TinyVM(
      TinyGuest().saying("up").idling(), ["--device", names[0]],
      wrapper: [Program.file, "open"] + names + ["--"])
    #expect(needless.wait() == 2)
    #expect(
      needless.errors
        == "sluice: descriptor 'vfio-user.1': passed, but the VM has 1 devices of vfio-user; pass only the descriptors that "
        + "the VM needs\n")
  }

  @Test("devices on the root bus and behind a port, with either server")
  func several() throws {
    let (edu, drive) = (try Self.start(.edu), try Self.start(.nvme))
    let vm = try TinyVM(
      smallGuest: "msix", append: "commands=50", socket: drive.path,
      ["--device", "vfio-user:\(edu.path)", "--ports", "1"])
    #expect(vm.failures() == [])
  }
}
