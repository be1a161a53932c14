// SPDX-License-Identifier: Apache-2.0

import Foundation
import Gate
import Linux
import PCI
import Testing
import Trace

@testable import VMM

/// Descriptors that another process has passed. Files of other kinds stand for the devices of the kernel.
@Suite struct HostFilesTests {
  /// A descriptor that a ``HostFiles`` closes.
  private static func open(_ path: String, _ flags: Int32 = O_RDWR) -> Int32 {
    // SAFETY: the path lives for the call.
    unsafe Foundation.open(path, flags)
  }

  private static func facts(_ text: String) throws -> Int32 {
    let memory = try SealedMemory.make("devices", Array(text.utf8))
    return try memory.duplicate().release()
  }

  private static let one = #"{"address":"0000:01:00.0","group":"12"}"#
  private static let two = #"{"address":"0000:02:00.0","group":"13"}"#

  @Test(
    "a name is parsed, and other names are unknown",
    arguments: [
      "kvm", "container", "iommu", "group.7", "device.0000-01-00.0", "spare.0000-01-00.0",
      "spare.0000-01-00.0.3",
      "devices", "kernel", "initrd", "trace",
      "console", "notify", "control", "container.1", "container.12",
    ])
  func names(_ text: String) throws {
    #expect(try #require(DescriptorName(text)).description == text)
  }

  @Test(
    "an unknown name is refused, and the error has its first printable characters",
    arguments: [
      ("", ""), ("KVM", "KVM"), ("group.", "group."), ("container.0", "container.0"),
      ("container.01", "container.01"), ("group.x", "group.x"),
      ("group.01234567890", "group.01234567890"),
      ("device.01-00.0", "device.01-00.0"), ("device.0000:01:00.0", "device.0000:01:00.0"),
      ("device.0000-01-00-0", "device.0000-01-00-0"), ("spare.0000-01-00.0.0", "spare.0000-01-00.0.0"),
      ("spare.0000-01-00.0.4", "spare.0000-01-00.0.4"), ("spare.0000-01-00.", "spare.0000-01-00."),
      ("device.0000-01-00.0.1", "device.0000-01-00.0.1"), ("a\u{1B}[b", "a?[b"),
      (String(repeating: "x", count: 40), String(repeating: "x", count: 32) + "…"),
    ])
  func unknown(_ text: String, _ shown: String) {
    #expect(throws: DescriptorProblem.unknown(shown)) { try HostFiles([(text, 3)]) }
  }

  @Test(
    "a number that is not open, a standard stream, and a name or a number that is passed twice are refused")
  func numbers() throws {
    #expect(throws: DescriptorProblem.closed(.kernel, number: 9999)) { try HostFiles([("kernel", 9999)]) }
    #expect(throws: DescriptorProblem.closed(.trace, number: 2)) { try HostFiles([("trace", 2)]) }
    let number = Self.open("/dev/null")
    defer { close(number) }
    #expect(throws: DescriptorProblem.doubled(.trace)) {
      try HostFiles([("trace", number), ("trace", number)])
    }
    #expect(throws: DescriptorProblem.shared(.console, .trace, number: number)) {
      try HostFiles([("trace", number), ("console", number)])
    }
  }

  @Test(
    "a file of another kind is refused",
    arguments: [
      "kvm", "container", "iommu", "group.7", "device.0000-01-00.0", "devices", "kernel", "initrd", "notify",
      "control",
    ])
  func wrong(_ name: String) async {
    // Other tests replace ioctl in their process.
    await #expect(processExitsWith: .exitCode(7)) { [name = name as String] in
      let number = Self.open("/dev/null")
      do throws(DescriptorProblem) { _ = try HostFiles([(name, number)]) } catch {
        guard let name = DescriptorName(name) else { _exit(2) }
        _exit(error == .wrong(name, number: number) ? 7 : 3)
      }
      _exit(1)
    }
  }

  @Test("a file without the required direction, and memory that is not sealed or too large, are refused")
  func directions() throws {
    for (name, path, flags) in [
      ("trace", "/dev/null", O_RDONLY), ("console", "/dev/null", O_WRONLY),
      ("kernel", "/proc/self/oom_score_adj", O_WRONLY),
    ] {
      let number = Self.open(path, flags)
      defer { close(number) }
      #expect(throws: DescriptorProblem.wrong(try #require(DescriptorName(name)), number: number)) {
        try HostFiles([(name, number)])
      }
    }
    let path = FileManager.default.temporaryDirectory.appending(path: "facts-\(UUID().uuidString)").path
    try Data(Self.one.utf8).write(to: URL(filePath: path))
    defer { try? FileManager.default.removeItem(atPath: path) }  // a temporary file
    let file = Self.open(path)
    defer { close(file) }
    #expect(throws: DescriptorProblem.wrong(.devices, number: file)) { try HostFiles([("devices", file)]) }
    let large = try Self.facts(String(repeating: "\n", count: 65537))
    defer { close(large) }
    #expect(throws: DescriptorProblem.wrong(.devices, number: large)) { try HostFiles([("devices", large)]) }
    #expect(throws: Never.self) {
      try HostFiles([("devices", Self.facts(String(repeating: "\n", count: 65536)))])
    }
  }

  @Test("an exec closes a descriptor that was passed, and it is taken once")
  func taken() throws {
    let number = Self.open("/dev/null")
    #expect(fcntl(number, F_GETFD) == 0)
    let files = try HostFiles([("trace", number)])
    #expect(fcntl(number, F_GETFD) == FD_CLOEXEC)
    #expect(files.numbers == [number] && files.has(.trace) && !files.has(.kvm))
    func taken(_ name: DescriptorName) -> Int32? {
      if let descriptor = files.take(name) { descriptor.number } else { nil }
    }
    #expect(taken(.trace) == number)
    #expect(taken(.trace) == nil && files.has(.trace))
  }

  @Test("sealed memory cannot be changed")
  func sealed() throws {
    let memory = try SealedMemory.make("test", [1, 2])
    #expect(throws: KernelError.self) { try memory.write([3]) }
    #expect(ftruncate(memory.number, 1) < 0)
    #expect(try memory.read(4, at: 0) == [1, 2])
    // An exec keeps the descriptor that is passed.
    #expect(DescriptorFacts(memory.number)?.isSealed == true)
  }

  /// A configuration with devices.
  private static func configuration(
    _ addresses: [String], kernel: String? = nil, iommu: IOMMUInterface? = nil, peer: PeerPolicy? = nil
  ) throws -> Configuration {
    var configuration = Configuration(kernel: kernel)
    configuration.iommu = iommu
    configuration.devices = try addresses.map { .init(address: try #require(Address($0))) }
    if let peer, let last = configuration.devices.last {
      configuration.devices[0].policies.peers[last.address.description] = peer
    }
    return configuration
  }

  /// Files that claim to have descriptors. Their numbers are not open.
  private static func files(_ names: [DescriptorName], _ facts: String?) throws -> HostFiles {
    HostFiles(
      claiming: names + (facts == nil ? [] : [.devices]),
      devices: try facts.map { try PassedDevice.all(in: Array($0.utf8)) })
  }

  private static let address = Address("01:00.0")
  private static let other = Address("02:00.0")

  @Test("a VM with all descriptors of its devices, and of no others, is accepted")
  func complete() throws {
    let (first, second) = (try #require(Self.address), try #require(Self.other))
    let both = Self.one + "\n" + Self.two
    let configuration = try Self.configuration(["01:00.0", "02:00.0"])
    let groups = try Self.files([.container(0), .group("12"), .group("13"), .kvm], both)
    #expect(throws: Never.self) { try groups.check(configuration) }
    #expect(groups.interface == .type1)
    let cdevs = try Self.files([.iommu, .device(first), .device(second)], both)
    #expect(throws: Never.self) { try cdevs.check(configuration) }
    #expect(cdevs.interface == .iommufd)
    let none = try Self.files([.kvm, .kernel], nil)
    #expect(throws: Never.self) { try none.check(Self.configuration(["01:00.0"])) }
    #expect(none.interface == nil)
  }

  @Test("a descriptor that is missing, or that the VM does not need, is named")
  func incomplete() throws {
    let (first, second) = (try #require(Self.address), try #require(Self.other))
    let one = try Self.configuration(["01:00.0"])
    func expect(
      _ problem: DescriptorProblem, _ names: [DescriptorName], _ facts: String?,
      _ configuration: Configuration
    ) throws {
      let files = try Self.files(names, facts)
      #expect(throws: problem) { try files.check(configuration) }
    }
    let needed = "the VM's devices need it"
    try expect(.missing(.container(0), cause: needed), [.group("12")], Self.one, one)
    try expect(.missing(.group("12"), cause: needed), [.container(0)], Self.one, one)
    try expect(.missing(.device(first), cause: needed), [.iommu], Self.one, one)
    try expect(.missing(.devices, cause: "the descriptor 'iommu' is"), [.iommu], nil, one)
    let needless = "no device of the VM needs it"
    try expect(
      .unused(.group("13"), cause: needless), [.container(0), .group("12"), .group("13")], Self.one, one)
    try expect(
      .unused(.device(second), cause: needless), [.iommu, .device(first), .device(second)], Self.one, one)
    try expect(
      .unused(.container(0), cause: "the descriptor 'iommu' is passed too"), [.iommu, .container(0)],
      Self.one, one)
    try expect(.foreign(second, line: 2), [.container(0), .group("12")], Self.one + "\n" + Self.two, one)
    try expect(
      .noFacts(second), [.container(0), .group("12")], Self.one, Self.configuration(["01:00.0", "02:00.0"]))
    try expect(
      .interface(.container(0), requested: .iommufd), [.container(0), .group("12")], Self.one,
      Self.configuration(["01:00.0"], iommu: .iommufd))
    try expect(.path(.kernel), [.kernel], nil, Self.configuration([], kernel: "/k"))
  }

  @Test("a device in another process needs its socket if the VM opens nothing itself")
  func servers() throws {
    var configuration = Configuration(kernel: nil)
    configuration.devices = [.init(.server("/a")), .init(.server("/b"))]
    #expect(throws: Never.self) { try Self.files([], nil).check(configuration) }
    #expect(throws: Never.self) { try Self.files([.server(1)], nil).check(configuration) }
    #expect(throws: Never.self) { try Self.files([.server(0), .server(1)], "").check(configuration) }
    #expect(throws: DescriptorProblem.missing(.server(1), cause: "the VM's devices need it")) {
      try Self.files([.server(0)], "").check(configuration)
    }
    #expect(throws: DescriptorProblem.unused(.server(2), cause: "the VM has 2 devices of vfio-user")) {
      try Self.files([.server(2)], nil).check(configuration)
    }
    for (name, text) in [(DescriptorName.server(0), "vfio-user"), (.server(12), "vfio-user.12")] {
      #expect(name.description == text && DescriptorName(text) == name)
    }
    for text in ["vfio-user.0", "vfio-user.01", "vfio-user.", "vfio-user.x"] {
      #expect(DescriptorName(text) == nil)
    }
  }

  @Test("policies that need several I/O address spaces need as many containers")
  func containers() throws {
    let policies = try Self.configuration(["01:00.0", "02:00.0", "03:00.0"], peer: .off)
    let facts = [Self.one, Self.two, #"{"address":"0000:03:00.0","group":"14"}"#].joined(separator: "\n")
    let groups = [DescriptorName.group("12"), .group("13"), .group("14"), .container(0)]
    let files = try Self.files(groups + [.container(1)], facts)
    #expect(throws: Never.self) { try files.check(policies) }
    let missing = DescriptorProblem.missing(.container(1), cause: "the VM's devices need it")
    #expect(throws: missing) { try Self.files(groups, facts).check(policies) }
    let unused = DescriptorProblem.unused(.container(2), cause: "no device of the VM needs it")
    #expect(throws: unused) {
      try Self.files(groups + [.container(1), .container(2)], facts).check(policies)
    }
  }
}
