// SPDX-License-Identifier: Apache-2.0

import Boot
import Foundation
import Linux
import PCI
import TestTools
import Testing

/// Devices whose process ends or breaks the protocol while a confined VM uses them.
@Suite(.enabled(if: SmallGuests.obstacle == nil, "\(SmallGuests.reason)"), .serialized)
struct ServerLossTests {
  /// Starts the guest `watch`, which reads a register of the device continuously.
  private func watch(_ server: ServerProcess, _ options: [String] = []) throws -> TinyVM {
    let vm = try TinyVM(smallGuest: "watch", socket: server.path, options)
    try #require(vm.hears("watching"), "\(vm.errors)\(vm.text)")
    return vm
  }

  /// Ends the guest `watch`, which must have seen all-ones, and returns the program's messages.
  private func finish(_ vm: TinyVM) -> String {
    #expect(vm.hears("# device 1 reads ffffffff"))
    // Memory reads all-ones before the main thread takes the device from the guest.
    let isGone = (0..<20).contains { _ in
      vm.type("s")
      return vm.hears("# state 1 reads ffffffff command ffff identity ffffffff", seconds: 1)
    }
    #expect(isGone, "\(vm.text)")
    vm.type("q")
    #expect(vm.failures() == [])
    return vm.errors
  }

  private static let remedy =
    "start the process again; unless the device has reconnect=, add it to a port with 'sluice ctl', or start the VM "
    + "again\n"

  @Test("after the end of the process the guest reads all-ones, and the VM continues", arguments: [0, 3])
  func killed(_ seed: Int) throws {
    let server = try ServerGuestTests.start(seed == 0 ? .edu : .nvme)
    let vm = try watch(server)
    server.send(SIGKILL)
    let text = finish(vm)
    #expect(
      text
        == "sluice: warning: device vfio-user:\(server.path): lost by the guest: the other process has closed the "
        + "connection; \(Self.remedy)"
        || text.contains("Connection reset by peer") || text.contains("Broken pipe"), "\(text)")
    #expect(text.filter { $0 == "\n" }.count == 1)
  }

  @Test("a process that does not reply is lost after one second")
  func hangs() throws {
    let server = try ServerGuestTests.start(.edu, faults: "at 3000: hang\n")
    let start = ContinuousClock.now
    let vm = try watch(server)
    let text = finish(vm)
    #expect(
      text
        == "sluice: warning: device vfio-user:\(server.path): lost by the guest: REGION_READ: no reply within 1000 ms; "
        + Self.remedy)
    #expect(ContinuousClock.now - start < .seconds(60))
    #expect(server.isRunning)
  }

  @Test("a process that breaks the protocol is lost", arguments: ["wrong-id", "short", "crash"])
  func faults(_ fault: String) throws {
    let server = try ServerGuestTests.start(.edu, faults: "at 3000: \(fault)\n")
    let text = finish(try watch(server))
    #expect(text.contains(": lost by the guest: ") && text.filter { $0 == "\n" }.count == 1, "\(text)")
  }

  @Test("a process that is not there, or is another program, prevents the start")
  func absent() throws {
    let path = FileManager.default.temporaryDirectory.appending(path: "none-\(UUID().uuidString)").path
    let vm = try TinyVM(smallGuest: "watch", socket: path)
    #expect(vm.wait() == 6)
    #expect(
      vm.errors
        == "sluice: device vfio-user:\(path): connect \(path): No such file or directory; start the device's process, and "
        + "give the path of its socket\n")
    let listener = try SocketListener.create(at: path)
    let silent = try TinyVM(smallGuest: "watch", socket: path)
    #expect(silent.wait() == 6)
    #expect(
      silent.errors
        == "sluice: device vfio-user:\(path): VERSION: no reply within 1000 ms; read the messages of the device's process\n"
    )
    try SocketListener.removeFile(path)
    withExtendedLifetime(listener.number) {}
  }
}
