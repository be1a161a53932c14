// SPDX-License-Identifier: Apache-2.0

internal import Linux
internal import Logging
internal import PCI
internal import Passthrough
internal import Seams

/// The hotplug thread of a VM with ports. It opens devices that are added, and returns devices that have left their slots
/// to the host. One thread does both, so that guest RAM stays mapped while a device is being added.
struct Hotplug<B: HostBackend>: Sendable {
  let builder: MachineBuilder<B>
  let population: Population<B>
  let eventLog: EventLog
  let shutdown: ShutdownRequest
  /// The exchange of the control socket, or nil.
  let exchange: ControlExchange?
  /// The devices of the VM at its start.
  let devices: [Configuration.AssignedDevice]
  /// The process that connects to devices again, or nil.
  let connector: Connector?

  /// A request that ends when a function has been returned to the host.
  private struct Departure {
    let request: ControlExchange.Request
    let function: AssignedFunction<B>
    let slot: UInt8
    /// The device that then enters the slot, or nil.
    let successor: Arrival?
  }

  /// A device that is open and has not entered its slot.
  struct Arrival {
    let device: B.Device
    let function: AssignedFunction<B>
    let port: Port<B>
    /// True if guest RAM was mapped for this device.
    let isFirst: Bool
  }

  /// The work of the thread that waits for an event.
  private struct Waiting {
    var departures: [Departure] = []
    /// The last device of the host in the VM. It has left while threads still pin guest RAM, and its group or cdev is open
    /// until they have ended.
    var last: String?
    /// Requests for additions that wait for the release of ``last``.
    var additions: [ControlExchange.Request] = []
    var lost: [LostDevice] = []

    /// The milliseconds until the next attempt to connect to a lost device, or -1 if the thread waits for an event.
    var timeout: Int32 { last == nil ? Hotplug.timeout(lost) : -1 }

    /// Takes the departures whose function has been returned to the host.
    mutating func takeOver() -> [Departure] {
      let last = last
      func isOver(_ departure: Departure) -> Bool {
        !departure.function.isOpen && departure.function.address != last
      }
      defer { departures.removeAll(where: isOver) }
      return departures.filter(isOver)
    }
  }

  /// Performs tasks until ``HotplugQueue/finish()``. This is the body of the thread.
  func run() {
    var waiting = Waiting()
    do throws(KernelError) {
      while let tasks = try builder.hotplugQueue.next(within: waiting.timeout) {
        for task in tasks { perform(task, &waiting) }
        if let last = waiting.last, remove(last) { waiting.last = nil }
        for departure in waiting.takeOver() { complete(departure) }
        guard waiting.last == nil else { continue }
        reconnect(&waiting.lost)
        let additions = waiting.additions
        waiting.additions = []
        for request in additions { perform(.addition(request), &waiting) }
      }
    } catch { shutdown.end(.failure(.kernel(error))) }
    for departure in waiting.departures { if let arrival = departure.successor { discard(arrival) } }
  }

  private func perform(_ task: HotplugQueue<B>.Task, _ waiting: inout Waiting) {
    switch task {
    case .departure(let function):
      if !release(function) { waiting.last = function.address }
      if let lost = lostDevice(function) { waiting.lost.append(lost) }
    case .recovery(let function, let port): recover(function, in: port)
    case .removal(let request, let function, let slot):
      waiting.departures.append(
        Departure(request: request, function: function, slot: slot, successor: nil))
    case .addition(let request) where waiting.last != nil: waiting.additions.append(request)
    case .addition(let request):
      do throws(ControlError) {
        if let departure = try start(request) { waiting.departures.append(departure) }
      } catch { exchange?.complete(request, .failure(error)) }
    }
    for departure in waiting.takeOver() { complete(departure) }
  }

  /// Adds a device, or requests the removal of a device that another one replaces. The VM is unchanged after an error.
  private func start(_ request: ControlExchange.Request) throws(ControlError) -> Departure? {
    switch request.operation {
    case .add(let device, let slot, let names):
      let port = try emptyPort(slot, for: device)
      let files = try files(request, names, for: device)
      do throws(RunError) { try enter(open(device, for: port, files: files)) } catch {
        throw .refused(device.address.description, error, .add)
      }
      exchange?.complete(request, .success(Self.fields(port.slot)))
    case .replace(let address, let device, let names):
      guard let old = population.functions.last(where: { $0.address == address }) else {
        throw .noDevice(address, .replace)
      }
      guard old.isOpen else { throw .released(device: address, .replace) }
      guard let port = builder.root.ports.first(where: { $0.has(old) }) else {
        throw .noPort(device: address, .replace)
      }
      let files = try files(request, names, for: device)
      let arrival: Arrival
      do throws(RunError) { arrival = try open(device, for: port, replacing: old, files: files) } catch {
        throw .refused(device.address.description, error, .replace)
      }
      do throws(FunctionError) { try port.requestRemoval() } catch {
        shutdown.end(.failure(.function(error)))
        discard(arrival)
        throw .failed(error, .replace)
      }
      return Departure(request: request, function: old, slot: port.slot, successor: arrival)
    case .remove, .inject, .stop: break
    }
    return nil
  }

  /// Replies to a request whose function has been returned to the host. Its successor enters the slot first.
  private func complete(_ departure: Departure) {
    if let arrival = departure.successor {
      do throws(RunError) { try enter(arrival) } catch {
        let error = ControlError.halfReplaced(arrival.device.address, error, left: departure.function.address)
        exchange?.complete(departure.request, .failure(error))
        return
      }
    }
    exchange?.complete(departure.request, .success(Self.fields(departure.slot)))
  }

  /// The fields of a reply about a port.
  private static func fields(_ slot: UInt8) -> ControlFields {
    var fields = ControlFields()
    fields.put("port", slot)
    return fields
  }

  /// Returns a port that can receive a device.
  ///
  /// - Parameters:
  ///   - slot: The device number of the port, or nil for the first empty port.
  ///   - device: The device.
  private func emptyPort(
    _ slot: UInt8?, for device: Configuration.AssignedDevice
  ) throws(ControlError) -> Port<B> {
    let ports = builder.root.ports
    guard let port = ports.first(where: { slot == nil ? $0.isFree : $0.slot == slot }) else {
      throw .noEmptyPort(device: device.address.description, slot)
    }
    guard port.isFree else {
      throw port.isLeaving ? .busyPort(port.slot) : .noEmptyPort(device: device.address.description, slot)
    }
    return port
  }

  private func files(
    _ request: ControlExchange.Request, _ names: [DescriptorName], for device: Configuration.AssignedDevice
  ) throws(ControlError) -> HostFiles {
    // The filters of a VM without such devices do not permit the check of a socket.
    if device.address.path != nil, builder.devices.backend?.readers == nil {
      throw .refused(
        device.address.description, .server(.notShared(device.address)), request.operation.verb)
    }
    do throws(DescriptorProblem) { return try HostFiles(names, request.descriptors, for: device) } catch {
      throw .refused(device.address.description, .descriptor(error), request.operation.verb)
    }
  }

  /// Resets a device after an error that the host's kernel has reported. A failure of the operation itself ends the VM.
  private func recover(_ function: AssignedFunction<B>, in port: Port<B>) {
    do throws(FunctionError) {
      let isRecovered = try function.recover(within: Self.recoveryTime) { port.noteReset(of: function) }
      if !shutdown.isOver { try port.endRecovery(function, isRecovered: isRecovered) }
    } catch { shutdown.end(.failure(.function(error))) }
  }

  /// The time in microseconds that the host's kernel gets to handle an error.
  private static var recoveryTime: Int64 { 10_000_000 }

  /// Returns a device that has left the guest to the host. A failure ends the VM. Returns false if files of the device must stay
  /// open, as ``remove(_:)`` does.
  private func release(_ function: AssignedFunction<B>) -> Bool {
    do throws(FunctionError) { try function.release() } catch {
      shutdown.end(.failure(.function(error)))
    }
    population.remove(function, keepingFirst: builder.devices.functions.count)
    return remove(function.address)
  }

  /// Closes the files that only a device needed. Returns false if it is the last device and threads still pin guest RAM:
  /// the group or the cdev must then stay.
  private func remove(_ address: String) -> Bool {
    guard let backend = builder.devices.backend else { return true }
    if backend.isLast(address), !removeSpaces() { return false }
    backend.remove(address)
    return true
  }

  /// Unmaps guest RAM from the I/O address spaces, which have no device. Returns false if threads still pin it.
  func removeSpaces() -> Bool {
    do throws(OperationError) {
      return try builder.devices.dma?.removeSpaces(unmapped: eventLog.unpinned) ?? true
    } catch {
      eventLog.log.warning("guest RAM stays pinned: \(error)")
      return true
    }
  }
}
