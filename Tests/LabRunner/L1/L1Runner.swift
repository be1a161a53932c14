// SPDX-License-Identifier: Apache-2.0

import Foundation
import Linux
import Synchronization
import SystemPackage

/// The receiver of the events of cases.
final class Reports: Sendable {
  private let receive: @Sendable (Event) -> Void

  init(_ receive: @escaping @Sendable (Event) -> Void) { self.receive = receive }

  /// Writes the events to the port of the runner outside.
  convenience init(port: String) throws {
    let handle = Mutex(try FileHandle(forWritingTo: URL(filePath: port)))
    self.init { event in
      guard let line = try? event.line() else { return }  // strings and numbers always encode
      handle.withLock { $0.write(Data(line.utf8)) }
    }
  }

  func send(_ event: Event) { receive(event) }

  /// Starts a thread that reports every 5 seconds that L1 still runs.
  func keepPulse() {
    Foundation.Thread.detachNewThread { [self] in
      while true {
        sleep(5)
        send(Event(.pulse))
      }
    }
  }
}

/// The runner inside L1. It runs one case after the other.
struct L1Runner {
  let manifest: Manifest
  let vmm: String
  let reports: Reports

  func run(_ cases: [Case], times: Int) {
    do {
      try prepare()
      let idle = try IdleVM()
      try TimerKick.start()
      reports.send(Event(.ready, text: Self.kernelVersion, seconds: uptime()))
      reports.keepPulse()
      for one in cases { for _ in 0..<times { run(one) } }
      withExtendedLifetime(idle) {}
      reports.send(Event(.end))
    } catch {
      reports.send(Event(.end, text: "L1 cannot be prepared: \(sentence(error))"))
    }
  }

  /// Prepares L1, runs a shell command on the runner's standard streams, and waits for its end.
  func run(command: String) throws {
    try prepare()
    let idle = try IdleVM()
    try TimerKick.start()
    let program = try RunningProgram(
      ["sh", "-c", command], input: FileDescriptor.standardInput.duplicate(),
      output: FileDescriptor.standardOutput.duplicate(), errors: FileDescriptor.standardError.duplicate())
    _ = try program.wait()
    withExtendedLifetime(idle) {}
  }

  /// Runs a case and reports its result.
  func run(_ one: Case) {
    reports.send(Event(.start, one.name))
    let event = Event(of: one.name) {
      let context = try CaseContext(one, manifest: manifest, vmm: vmm, reports: reports)
      let text: String
      do { text = try one.body(context) } catch {
        try context.close()
        throw error
      }
      try context.close()
      return text
    }
    reports.send(event)
  }

  /// Loads KVM and VFIO, and binds the devices to vfio-pci before their host drivers are loaded.
  private func prepare() throws {
    func load(_ module: String) throws {
      try Command.output(["modprobe", "--dirname", manifest.modules, module])
    }
    try load("kvm-amd")
    try load("vfio-pci")
    for address in Address.assignable { try HostDevice(address).bind(to: "vfio-pci") }
    for module in ["nvme", "e1000"] { try load(module) }
    try VirtualFunction.make()
  }

  static var kernelVersion: String {
    (try? String(contentsOfFile: "/proc/sys/kernel/osrelease", encoding: .utf8))?  // only for the report
      .trimmingCharacters(in: .newlines) ?? "?"
  }

  /// True if L1's kernel has at least this version. A kernel whose version is not known has it.
  static func isAtLeast(_ version: KernelVersion) -> Bool {
    KernelVersion(release: kernelVersion).map { $0 >= version } ?? true
  }

  private func uptime() -> Double {
    let text = (try? String(contentsOfFile: "/proc/uptime", encoding: .utf8)) ?? ""  // only for the report
    return text.split(separator: " ").first.flatMap { Double($0) } ?? 0
  }
}
